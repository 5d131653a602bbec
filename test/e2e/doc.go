// Package e2e proves the main job end to end where a user has it: three real
// API servers with etcd, on each the accounts and rights of deploy/base, and as
// real processes a watcher and an agent for each cluster, with the
// configuration of deploy/base but for addresses and file names. Tests write
// to one cluster with client-go and ask the agents of all three over UDP.
//
// There is no kubelet and no controller manager: the tests write
// EndpointSlices, Nodes and load-balancer statuses. Nothing here knows a
// package of the product but the names of annotations and the maker of
// certificates; the rest is what a user sees.
package e2e
