# syntax=docker/dockerfile:1
#
# docker build -t isthmus .                             compiles inside
# docker build -t isthmus --build-arg BINARY=made .     takes ./isthmus, made before by
#                                                       CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" ./cmd/isthmus
ARG BINARY=build
ARG GO=1.26

FROM --platform=$BUILDPLATFORM golang:${GO} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
# The version that the program shows is git's, so the context has .git in it.
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags="-s -w" -o /out/isthmus ./cmd/isthmus
# What "forward . tls://…" verifies servers with.
RUN mkdir -p /out/etc/ssl/certs && cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/

# Nothing is fetched or run on this way, and so there are no root certificates:
# "forward . tls://…" needs those of the other one, or a mount.
FROM scratch AS made
COPY isthmus /out/isthmus

FROM ${BINARY} AS chosen

FROM scratch
COPY --from=chosen /out/ /
# No file capability for port 53: the watcher runs without any, and a program
# with one that its container lacks can't be started. Container runtimes let
# everybody bind low ports (net.ipv4.ip_unprivileged_port_start=0).
USER 65532:65532
ENTRYPOINT ["/isthmus"]
CMD ["help"]
