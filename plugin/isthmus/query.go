package isthmus

import (
	"net"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// query is one question to a stanza.
type query struct {
	*Isthmus
	w     dns.ResponseWriter // tells who asks; nil in a zone transfer
	req   *dns.Msg
	zone  *zone
	name  string // lower case, in zone
	qtype uint16
	where *View
	// found is the service that the name belongs to, nil for none, and chosen
	// the candidate that is answered, -1 for none in particular; for metadata.
	found  *answers
	chosen int
	// stale tells that the answer names a cluster that is not heard of.
	stale bool
}

// owner is the name as it was asked: answers keep its letter case, which some
// resolvers check (draft-vixie-dnsext-dns0x20).
func (q *query) owner() string { return q.req.Question[0].Name }

// answer finds the answer. The message is nil unless the result is
// resultAnswer.
func (q *query) answer() (*dns.Msg, result) {
	if q.req.Question[0].Qclass != dns.ClassINET || q.qtype == dns.TypeAXFR || q.qtype == dns.TypeIXFR {
		return nil, resultRefused
	}
	table := q.view.outlook.table
	if q.where = q.view.link.View(); q.where == nil || !table.Loaded() {
		return nil, resultServFail
	}
	switch q.zone.kind {
	case zoneMCS:
		return q.mcs(table)
	case zoneReverse:
		return q.reverse()
	}
	n := parseName(q.zone.relative(q.name))
	switch n.kind {
	case nameApex:
		return q.apex()
	case nameClusters:
		return q.clusters()
	case nameServer:
		return q.nameServer()
	case nameVersion:
		return q.version()
	}
	if n.key != "" {
		if e := table.Lookup(n.key); e != nil {
			return q.service(n, e)
		}
	}
	if n.namespace == labelGateway {
		if m, res, known := q.gateway(n); known {
			return m, res
		}
	}
	full := q.name[:len(q.name)-1]
	n2, host := aliasOf(full)
	if e := table.Alias(host); e != nil && q.zone.mayAlias(host) {
		return q.service(n2, e)
	}
	switch {
	case n.kind == nameServerParent,
		n.kind == nameNamespace && table.Namespace(n.namespace),
		q.aboveGateways(n),
		table.AliasBelow(full):
		return nil, resultNoData // an empty non-terminal (RFC 8020)
	}
	return nil, resultNXDomain
}

// service answers a name that belongs to a service that exists.
func (q *query) service(n name, e *discovery.Entry) (*dns.Msg, result) {
	return q.serviceFrom(n, q.view.answers(e, q.where))
}

// serviceFrom is service with what there is to answer.
func (q *query) serviceFrom(n name, a *answers) (*dns.Msg, result) {
	one := -1
	if n.cluster != "" {
		if one = a.index(n.cluster); one < 0 {
			return nil, resultNXDomain
		}
		a, one = a.only(one)
	}
	q.found, q.chosen = a, one
	switch n.kind {
	case nameService, nameCluster:
		return q.plain(a, one)
	case nameProto, nameClusterProto, namePort, nameClusterPort:
		return q.port(a, one, n)
	case nameWhy:
		return q.why(a)
	case nameHost:
		return q.host(a, one, n.host)
	case nameGateway:
		return q.gatewayPort(a, one, n.port)
	case nameScope:
		return q.scoped(a, n)
	case nameScopeParent:
		return nil, resultNoData
	}
	return nil, resultNXDomain
}

// plain answers a service's own name, or its name in one cluster.
func (q *query) plain(a *answers, one int) (*dns.Msg, result) {
	switch q.qtype {
	case dns.TypeA, dns.TypeAAAA:
		return q.addresses(a, one)
	case dns.TypeSRV:
		return q.srv(a, one, name{})
	case dns.TypeHTTPS:
		return q.https(a, one, name{})
	case dns.TypeSVCB:
		return q.svcb(a, one, name{})
	case dns.TypeANY:
		return q.minimal()
	}
	return nil, resultNoData
}

// addresses answers with the addresses of one cluster: the given one, or one
// that is chosen by the plan of the family that was asked for.
func (q *query) addresses(a *answers, one int) (*dns.Msg, result) {
	r := q.random()
	counted := choice{reason: locality.ReasonNone}
	if one < 0 {
		if one, counted = q.choose(a, r); one < 0 {
			return nil, a.nothing()
		}
	} else {
		way := &a.ways[one]
		if way.tier == locality.TierOut {
			return nil, a.nothingOf(one)
		}
		counted.tier, q.stale = way.tier, way.stale
	}
	q.found, q.chosen = a, one // found may have been the service in all zones
	m := q.addressReply(&a.ways[one], r)
	if m == nil {
		return nil, resultNoData
	}
	q.metrics.count(counted)
	return m, resultAnswer
}

// choose picks a cluster by the plan of the family that was asked for, -1 if
// there is none, and tells by which rule.
func (q *query) choose(a *answers, r uint64) (one int, by choice) {
	plan := a.v4
	if q.qtype == dns.TypeAAAA {
		plan = a.v6
	}
	if one = q.pick(plan, r); one < 0 {
		return one, by
	}
	if way := &a.ways[one]; plan == a.all { // what it says lies beside the addresses
		q.stale = way.stale
		return one, way.choice()
	}
	v := &plan.Verdicts[one]
	q.stale = v.Stale
	return one, choice{v.Tier, v.Reason}
}

// pick chooses one of a plan's clusters, by the client if it keeps its own.
func (q *query) pick(p *locality.Plan, r uint64) int {
	if p.Affine() && q.w != nil {
		if client := clientOf(q.w.RemoteAddr()); client.IsValid() {
			return p.PickFor(locality.ClientHash(client))
		}
	}
	return p.Pick(r)
}

// clientOf is the address of who sent the query: a client's, or that of the
// resolver that asks for it. EDNS Client Subnet (RFC 7871) is not read: it is a
// prefix, and whoever asks can write any.
func clientOf(addr net.Addr) netip.Addr {
	switch a := addr.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr()
	case *net.TCPAddr:
		return a.AddrPort().Addr()
	case nil:
		return netip.Addr{}
	}
	at, _ := netip.ParseAddrPort(addr.String())
	return at.Addr()
}

// host answers the name of one endpoint of a headless service.
func (q *query) host(a *answers, one int, host string) (*dns.Msg, result) {
	c := a.entry.Candidates[one]
	ways := newFinder(&facts{standpoint: a.standpoint}, *a.records, q.view.names.Addrs)
	way, found := ways.host(clusterRecord(*a.records, c.Cluster), c.Service, host, &a.ways[one])
	switch {
	case !found && host == labelGatewayPort && a.ways[one].throughGateway():
		return nil, resultNoData // above the gateways' names
	case !found:
		return nil, resultNXDomain
	case q.qtype == dns.TypeANY && way.reach.OK():
		return q.minimal()
	case q.qtype != dns.TypeA && q.qtype != dns.TypeAAAA:
		return nil, resultNoData
	case way.reach == locality.Unresolved:
		return nil, resultServFail
	}
	m := q.addressReply(&way, q.random())
	if m == nil {
		return nil, resultNoData
	}
	q.stale = a.ways[one].stale
	return m, resultAnswer
}

// nothing is the result when no candidate is left: NODATA, or a failure that
// makes the client ask again if one may appear at any moment.
func (a *answers) nothing() result {
	if a.waiting() {
		return resultServFail
	}
	return resultNoData
}

// nothingAt is nothing for one candidate, or for all if one is -1.
func (a *answers) nothingAt(one int) result {
	if one < 0 {
		return a.nothing()
	}
	return a.nothingOf(one)
}

// nothingOf is nothing for one candidate.
func (a *answers) nothingOf(i int) result {
	if a.all.Verdicts[i].Reason == locality.ReasonUnresolved {
		return resultServFail
	}
	return resultNoData
}
