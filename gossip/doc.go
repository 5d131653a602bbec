// Package gossip is the pool of all watchers of a clusterset: who is a member,
// and small messages to all of them or to one. It is the only importer of
// hashicorp/memberlist, and a wall around it.
//
// It knows no record, head or cluster table: what it carries are octets, and a
// [Handler] makes sense of them (gossip/replica, wired by cmd). It opens no
// socket either: a [Transport] does (gossip/transport, over mutual TLS).
//
// # The way of a message
//
//	Broadcast ─▶ queue, one message a key ─▶ memberlist's next packets ─┐
//	Send ──────▶ one packet, at once ───────────────────────────────────┤
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
// # What memberlist does not do
//
// It does not find the others again after a long split, so the pool tries its
// seeds (resolved anew each time) and members that were lost, for ever. It
// does not forward user messages: the Handler forwards what was news to it. It
// keeps a broadcast that exceeds a packet for ever: Broadcast refuses it.
package gossip
