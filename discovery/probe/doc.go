// Package probe checks actively whether the gateways of other clusters are up
// and how far away they are, and whether external endpoints of our own are. It
// knows neither gossip nor DNS: targets go in, by [Of] from a discovery.Table
// or from whoever owns external endpoints, and a [Snapshot] comes out.
//
//	Table ─▶ Of ─▶ Prober.SetTargets ─▶ names ─▶ select ─▶ queue ─▶ checker ─▶ record ─▶ Snapshot
//	         (targets)                (addresses)  (caps)   (pace)   (check)   (state)   (publish)
//
// A Prober works while its Run does, which only one watcher of a cluster lets
// it. Everything that comes from the network or from another cluster is
// bounded: octets, time, attempts a second, targets a cluster.
package probe
