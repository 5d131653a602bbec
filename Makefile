# make            builds bin/isthmus
# make demo       three clusters on loopback, ready to be asked
# make test       the tests
# make help       all targets

GO       ?= go
BIN      := bin/isthmus
BUILD    := build
# Tools run at these versions, outside go.mod.
LINT     := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT  := mvdan.cc/gofumpt@v0.12.0
VULN     := golang.org/x/vuln/cmd/govulncheck@v1.9.0
BUF      := github.com/bufbuild/buf/cmd/buf@v1.57.2
FUZZTIME ?= 30s
SERVER_FUZZTIME ?= 5m
DEMO_DIR ?= isthmus-demo

.DEFAULT_GOAL := build
.PHONY: build demo test race fuzz fuzz-server lint fmt generate breaking e2e e2e-faults rig bench bench-propagation bench-dns bench-scale soak nightly kube vuln clean help tools deploy-tools

build: $(BIN) ## build bin/isthmus

# Go's build cache knows better than make what changed.
.PHONY: $(BIN)
$(BIN):
	@command -v $(GO) >/dev/null || { echo "make: Go 1.26 or newer is needed: https://go.dev/doc/install" >&2; exit 2; }
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $@ ./cmd/isthmus

demo: build ## run three clusters on loopback; stop with Ctrl-C
	$(BIN) demo --dir $(DEMO_DIR)

test: ## run the unit tests and those on loopback
	$(GO) vet ./...
	$(GO) test ./...

# Tests that only drive other processes have nothing for the race detector.
race: ## run the tests under the race detector
	CGO_ENABLED=1 $(GO) test -race ./cmd/... ./discovery/... ./gossip/... ./plugin/...

# Each fuzz target by itself, because go test takes only one at a time; two at
# once on one core each. Minimizing is cut short: targets that verify signatures
# have coverage that differs from run to run, which the minimizer takes for news.
fuzz: ## fuzz each decoder for FUZZTIME (30s)
	@mkdir -p $(BUILD)
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' cmd discovery gossip plugin test \
	  | sed 's|\(.*\)/[^/]*:func \(.*\)|\1 \2|' | grep -v ' FuzzServer$$' | sort \
	  | xargs -P 2 -L 1 sh -c 'echo "fuzz $$0 $$1"; \
	      $(GO) test ./$$0 -run "^$$" -fuzz "^$$1\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x -parallel 1 >"$(BUILD)/fuzz-$$1.log" 2>&1 \
	      || { cat "$(BUILD)/fuzz-$$1.log"; exit 255; }'

# The whole server over its sockets, which is slower than a decoder.
fuzz-server: ## fuzz a whole DNS server with raw packets for SERVER_FUZZTIME (5m)
	$(GO) test ./cmd/isthmus/internal/dns -run '^$$' -fuzz '^FuzzServer$$' -fuzztime $(SERVER_FUZZTIME) -fuzzminimizetime 10x -parallel 1

lint: ## linters, formatting, the wire schema
	$(GO) run $(LINT) run ./...
	@out=$$($(GO) run $(GOFUMPT) -l cmd deploy discovery gossip plugin test | grep -v '\.pb\.go$$' || true); \
	  if [ -n "$$out" ]; then echo "gofumpt: run make fmt for:" $$out >&2; exit 1; fi
	$(GO) run $(BUF) lint

fmt: ## format the sources
	$(GO) run $(GOFUMPT) -w $$(git ls-files '*.go' | grep -v '\.pb\.go$$')

generate: ## generate the wire code from wire.proto
	$(GO) run $(BUF) generate

breaking: ## check the wire schema against the previous commit's
	$(GO) run $(BUF) breaking --against '.git#ref=HEAD~1'

vuln: ## known vulnerabilities (needs the network)
	$(GO) run $(VULN) ./...

# A real kube-apiserver and etcd in one program; its module is of its own so
# that the product's go.mod stays small. Five minutes with an empty cache.
kube: $(BUILD)/kube
.PHONY: $(BUILD)/kube
$(BUILD)/kube:
	cd test/kube && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o ../../$(BUILD)/kube .

# For the tests of deploy/: they render it with these and validate against these
# CRDs. kustomize is the version that kubectl 1.36 has in it.
HELM         := helm.sh/helm/v3/cmd/helm@v3.22.0
KUSTOMIZE    := sigs.k8s.io/kustomize/kustomize/v5@v5.8.1
CERT_MANAGER := github.com/cert-manager/cert-manager@v1.21.2
ISTIO        := istio.io/api@v1.31.1
PROMETHEUS   := github.com/prometheus-operator/prometheus-operator@v0.85.0
TOOLS        := $(BUILD)/deploy

deploy-tools: ## build helm and kustomize, fetch CRDs, for the tests of deploy/
	@mkdir -p $(TOOLS)/crds
	GOBIN=$(CURDIR)/$(TOOLS) CGO_ENABLED=0 $(GO) install -trimpath -ldflags '-s -w' $(HELM)
	GOBIN=$(CURDIR)/$(TOOLS) CGO_ENABLED=0 $(GO) install -trimpath -ldflags '-s -w' $(KUSTOMIZE)
	@dir() { $(GO) mod download -json $$1 | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'; }; set -e; \
	for kind in issuers certificates; do install -m 644 "$$(dir $(CERT_MANAGER))/deploy/crds/cert-manager.io_$$kind.yaml" $(TOOLS)/crds/; done; \
	for kind in servicemonitors prometheusrules; do install -m 644 "$$(dir $(PROMETHEUS))/example/prometheus-operator-crd/monitoring.coreos.com_$$kind.yaml" $(TOOLS)/crds/; done; \
	install -m 644 "$$(dir $(ISTIO))/kubernetes/customresourcedefinitions.gen.yaml" $(TOOLS)/crds/istio.yaml

# What make test leaves out for want of the programs.
E2E := ./discovery/kube/ ./deploy/ ./test/crash/ ./test/distance/ ./test/e2e/ ./test/kubetest/ ./test/reload/ ./test/resolvers/

# Whole clusters on one machine; a module of its own, too. Ten minutes with an
# empty cache.
RIG := $(CURDIR)/$(BUILD)/rig

rig: ## build the programs of test/rig (Linux, root)
	@if [ "$$(uname)" != Linux ] || [ "$$(id -u)" != 0 ]; then \
	  echo "make: no clusters without Linux and root; test/clusters is skipped" >&2; exit 0; fi; \
	set -x; RIG_DIR=$(RIG) sh test/rig/rig build

# KUBECONFIGS=a:b tests clusters that are there already, and needs IMAGES; see
# test/clusters.
CLUSTERS := ISTHMUS_BIN=$(CURDIR)/$(BIN) ISTHMUS_RIG=$(RIG) \
  ISTHMUS_KUBECONFIGS=$(KUBECONFIGS) ISTHMUS_IMAGES="$(IMAGES)"

ifdef KUBECONFIGS
e2e: build ## the tests on real API servers and clusters, of manifests, of reloads and of resolvers
else
e2e: build kube rig deploy-tools
	ISTHMUS_KUBE=$(CURDIR)/$(BUILD)/kube ISTHMUS_BIN=$(CURDIR)/$(BIN) ISTHMUS_DEPLOY_TOOLS=$(CURDIR)/$(TOOLS) $(GO) test -count=1 -timeout 15m $(E2E)
endif
	$(CLUSTERS) $(GO) test -count=1 -v -timeout 20m ./test/clusters/

e2e-faults: build $(if $(KUBECONFIGS),,rig) ## everything that may happen to three clusters, at full length: 18 minutes, 5 GiB
	ISTHMUS_FAULTS=full ISTHMUS_CLUSTERS=3 $(CLUSTERS) $(GO) test -count=1 -v -timeout 1h ./test/clusters/

# Some hours, and 16 GiB for 300 clusters. Seeds and figures go to standard output, the simulator's
# tables and plots to build/sim.
soak: build kube tools ## laws, simulation, crashes, reloads and the comparison with Knot at full length
	ISTHMUS_SCHEDULES=10000 $(GO) test -count=1 -run Laws -v -timeout 2h ./gossip/replica/
	ISTHMUS_SOAK=1 $(GO) test -count=1 -run Soak -v -timeout 6h ./test/sim/
	ISTHMUS_SOAK=1 ISTHMUS_KUBE=$(CURDIR)/$(BUILD)/kube ISTHMUS_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -v -timeout 2h ./test/crash/
	ISTHMUS_SOAK=1 ISTHMUS_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -v -timeout 1h ./test/reload/
	ISTHMUS_SOAK=1 ISTHMUS_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -run Differential -v -timeout 1h ./test/conform/

nightly: fuzz-server soak ## what takes longer than CI may

bench: ## benchmarks of the table, the replica and the answer path
	$(GO) test -run '^$$' -bench . -benchmem ./discovery/ ./gossip/replica/ ./plugin/...

bench-propagation: build ## change in one cluster to answer in another, 200 changes
	ISTHMUS_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -run '^$$' -bench Propagation -benchtime 1x ./test/propagation/

bench-dns: build tools ## dnsperf against this server and CoreDNS hosts, CPU per query
	ISTHMUS_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -run '^$$' -bench DNSPerf -benchtime 1x -timeout 20m ./test/dnsperf/

bench-scale: build ## 100 clusters of 1,000 services: memory, and how soon who is in sync
	ISTHMUS_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -run '^$$' -bench Scale -benchtime 1x -timeout 20m ./test/scale/

# dig to try things by hand, dnsperf for bench-dns, a C compiler for the race
# detector; a name server to compare with, and resolvers to be asked by. The
# name server's service must not start.
tools: ## install what tests and benchmarks use from Debian's packages if it is missing
	@missing=; command -v dig >/dev/null || missing="$$missing bind9-dnsutils"; \
	command -v dnsperf >/dev/null || missing="$$missing dnsperf"; \
	command -v gcc >/dev/null || missing="$$missing gcc libc6-dev"; \
	command -v knotd >/dev/null || missing="$$missing knot"; \
	command -v kdig >/dev/null || missing="$$missing knot-dnsutils"; \
	command -v musl-gcc >/dev/null || missing="$$missing musl-tools"; \
	command -v node >/dev/null || missing="$$missing nodejs"; \
	command -v ip >/dev/null || missing="$$missing iproute2"; \
	if [ -n "$$missing" ]; then \
	  if command -v apt-get >/dev/null; then apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $$missing; \
	  else echo "make: install what Debian calls$$missing" >&2; exit 2; fi; fi

clean: ## remove what was built
	rm -rf bin $(BUILD)

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22
