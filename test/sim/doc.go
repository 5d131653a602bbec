// Package sim runs the watchers of many clusters in one process, over a network
// in memory that delays, loses, reorders and cuts, and says how soon all tables
// show a change and how many octets that costs.
//
// The watchers are the real ones, gossip.Pool with replica.Replica, without
// TLS; a [Network] stands for gossip/transport and the wires below it. It knows
// nothing of how the replica spreads its news: it counts octets and looks at
// tables. All time is a synctest bubble's, so that an hour of the clusterset
// costs what its messages cost to handle. The README says what the figures
// leave out.
package sim
