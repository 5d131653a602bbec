// Package dnsperf measures what a query costs a whole server: our agent and
// CoreDNS with its hosts plugin, which is the least that a CoreDNS does for an
// answer from memory. Both are the same program with the same stanza but for
// the one plugin, answer the same names with the same addresses, and take
// turns in one run under Debian's dnsperf. What counts is processor time per
// query: on a busy or shared machine it moves less than queries per second.
//
// The agent's table comes the whole way: manifests of 1,000 services, one
// cluster's watcher, gossip over mutual TLS, the viewer's watcher, its stream.
// There are tests only; README.md says how to run them.
package dnsperf
