// Package discovery is the model that all parts of Isthmus share: clusters,
// services, gateways, localities, and the Table that holds them. It does no
// I/O, starts no goroutine, and imports nothing but the standard library.
//
// # The walk of the data
//
// A change goes from left to right, from one cluster's API server to another
// cluster's client:
//
//	API server ──informers──▶ discovery/kube ─┐                     cluster "west"
//	manifests  ──fsnotify───▶ discovery/manifest ─▶ Update ─▶ replica.Publisher ─▶ gossip
//	                                                                    │ signed head + delta
//	                            ····· clusterset pool (memberlist over mTLS) ·····
//	                                                                    │
//	client ─▶ plugin/isthmus ─▶ Table ◀── stream ── replica.Server ◀────┘   cluster "east"
//	          (CoreDNS, every node)          (watcher, 2 replicas)
//
// Sources turn objects into an [Update]: the whole of a cluster's part, or
// what changed in it. On its way discovery/external counts those endpoints anew
// that only it checks. gossip/replica signs it, spreads it and, at every
// receiver, applies it to a [Table]. The DNS plugin looks names up in the
// Table and never writes to it.
//
// # Ownership
//
// A part of the table is written by its own cluster only, so there is nothing
// to merge: the newest version wins. Everything the Table hands out is
// immutable; whoever hands a value to the Table gives it away.
package discovery
