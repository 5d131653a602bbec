// Package cluster runs clusters for tests: for each a real `isthmus watch` and
// a real `isthmus dns` process on loopback, with a folder of manifests in the
// place of an API server, and certificates that the package issues itself.
//
// It knows no test: what a cluster exports is written into its folder by the
// test ([Cluster.Export], [Cluster.Write]), and what comes of it is asked for
// over DNS ([Cluster.Ask]) or read from the watcher's metrics. Gateways, Pods
// and cluster IPs are addresses of documentation and private ranges: they are
// answered, and nothing is sent there.
//
// The program is the one that the environment variable ISTHMUS_BIN names;
// without it, it is built once for each test program. All processes end with
// the test, also when that is killed.
package cluster
