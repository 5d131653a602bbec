// Package clusters proves the product where its users have it: on whole
// Kubernetes clusters, whose Pods can't reach one another, installed by the
// words of deploy/README.md, and asked by Pods.
//
// The clusters are those of the rig (test/rig), or any others whose
// kubeconfigs are given. Nothing here knows a package of the product.
package clusters
