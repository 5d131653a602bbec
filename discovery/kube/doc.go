// Package kube is the source of a cluster's part of the table in Kubernetes:
// informers on Services, EndpointSlices and Nodes, and on ServiceExports,
// Ingresses, the Gateway API and Istio's ServiceEntries where the cluster has
// them, feed one worker, which makes each changed service's record with
// discovery/export and hands what differs to its caller. What became of Services is told to their owners
// by conditions and Events. It also holds what publishing needs from
// the API server: the Lease that elects one publisher of a cluster's watchers,
// and the ConfigMap that keeps the publisher's epoch.
//
// It is the only package that imports client-go. It knows nothing of gossip,
// of other clusters, nor of what a record means: the conversion stands in
// discovery/export. Data comes from the cluster's API server and goes to the
// emit function of [Source.Run] (in the watcher: gossip/replica's publisher).
package kube
