// Package demo is three clusters on loopback in one process: real watchers
// with real gossip over mutual TLS, real DNS servers that stream from them, and
// small HTTP servers where the answers lead. Only Kubernetes is not there:
// manifests in a folder take its place.
package demo
