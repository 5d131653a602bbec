package isthmus

import (
	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// query is one question to a stanza.
type query struct {
	*Isthmus
	req   *dns.Msg
	zone  *zone
	name  string // lower case, in zone
	qtype uint16
	where *View
	// found is the service that the name belongs to, nil for none, and chosen
	// the candidate that is answered, -1 for none in particular; for metadata.
	found  *answers
	chosen int
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
	table := q.view.link.Table()
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
	if one < 0 {
		plan := a.v4
		if q.qtype == dns.TypeAAAA {
			plan = a.v6
		}
		one = plan.Pick(r)
		if one < 0 {
			return nil, a.nothing()
		}
	} else if a.ways[one].tier == locality.TierOut {
		return nil, a.nothingOf(one)
	}
	q.found, q.chosen = a, one // found may have been the service in all zones
	way := &a.ways[one]
	m := q.addressReply(way, r)
	if m == nil {
		return nil, resultNoData
	}
	q.metrics.answers[way.tier].Inc()
	return m, resultAnswer
}

// host answers the name of one endpoint of a headless service.
func (q *query) host(a *answers, one int, host string) (*dns.Msg, result) {
	c := a.entry.Candidates[one]
	way, found := reachHost(q.where, clusterRecord(*a.records, c.Cluster), c.Service, host,
		fitnessFor(q.where, *a.records), &a.ways[one])
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
