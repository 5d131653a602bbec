// Package gossip is the pool of all watchers of a clusterset: who is a member,
// and small messages from one to another. It is the only importer of
// hashicorp/memberlist, and a wall around it.
//
// It knows no record, head or cluster table: what it carries are octets, and a
// [Handler] makes sense of them (gossip/replica, wired by cmd). It opens no
// socket either: a [Transport] does (gossip/transport, over mutual TLS).
//
// # The way of a message
//
//	Send ──────▶ one packet, at once ───────────────────────────────────┐
//	                                                            Transport
//	HandleMessage ◀─ bounded queue ◀─ user messages ◀── gate ◀──────────┘
//	                                                     │
//	                        memberlist ◀─ everything else┘
//
// The gate stands in front of memberlist because memberlist trusts what it
// reads: a push/pull header of 33 octets makes v0.7.0 allocate 112 MiB and a
// compressed packet of 30 KB inflates to 38 MiB. It lets through only the
// message types and sizes that this package itself produces. User messages
// leave the packet there: memberlist would hand them over newest first.
//
// Behind it each cluster has an allowance of messages of each kind, because a
// cluster that was taken over is a member like any other. What such a one can
// still do is in the README.
//
// # What memberlist does not do
//
// It does not find the others again after a long split, so the pool tries its
// seeds (resolved anew each time) and members that were lost, for ever; a
// [Memory] keeps those over restarts. It believes that a member is dead when
// anybody says so; the pool does not while that member speaks to it. It
// does not forward user messages: the Handler sends on what was news to it.
// Its broadcasts are used for its own news only: they go out a dozen times from
// each member, and one that exceeds a packet is kept for ever.
package gossip
