// Package isthmus is the CoreDNS plugin that answers the names of a clusterset
// (svc.ns.global) with addresses that the client can reach.
//
// What it answers comes from a discovery.Table that a link keeps equal to the
// watchers' (package gossip/replica in production); which cluster it answers
// with is decided by package locality. A query takes this way:
//
//	ServeDNS ─▶ zone ─▶ parseName ─▶ Table.Lookup ─▶ viewpoint.answers ─▶ Plan.Pick ─▶ reply
//	(handler)   (zone)    (name)                       (answers, memo)     (locality)   (reply, srv, svcb, why)
//
// What a service answers is built once and kept with the table's entry until
// the entry, the clusters' records or a gateway's host name changes, or what is
// known besides (outlook: policy, gateways' state, who is silent); a query only
// picks a cluster and copies addresses into a message. What was decided, and
// why, is told by _why names and by an Explainer, from the same candidates.
//
// A name in an MCS zone (mcs) is parsed and answered by KEP-1645's rules from
// the same answers; one in a reverse zone (ptr) from an index that a sweep in
// the background keeps beside the table. A zone transfer walks through a zone
// and asks what a client would (transfer).
//
// Links outlive the stanzas that use them, so that a reload of the Corefile
// loses neither the table nor the connection (see registry). The package knows
// neither gossip nor the Kubernetes API, and writes no log line for a query.
package isthmus
