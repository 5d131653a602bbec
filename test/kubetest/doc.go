// Package kubetest starts a real Kubernetes API server on a real etcd for
// tests: RBAC on, own certificates, loopback only. There is no controller
// manager, scheduler or kubelet, so a test writes EndpointSlices, Nodes and
// load-balancer statuses itself, and decides when.
//
// The programs come from one binary, test/kube of this repository, whose path
// is in the environment variable ISTHMUS_KUBE; without it, tests are skipped.
package kubetest
