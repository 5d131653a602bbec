package isthmus

import "github.com/miekg/dns"

// labelGateway stands between a cluster and the zone in the names that PTR
// records of gateways have: west.gateway.global. The names exist where a stanza
// of the link has a reverse zone.
const labelGateway = "gateway"

// aboveGateways tells whether a name is above those of clusters' gateways, or
// may be.
func (q *query) aboveGateways(n name) bool {
	if n.kind != nameNamespace || n.namespace != labelGateway {
		return false
	}
	x := q.view.reverse.index()
	if x == nil {
		return q.zones.haveReverse()
	}
	return len(x.clusters) > 0
}

// gateway answers CLUSTER.gateway with the addresses that its gateways have and
// that have a PTR record, so that each confirms the other. known is false if
// there is no such name; a service's name wins over it.
func (q *query) gateway(n name) (m *dns.Msg, res result, known bool) {
	x := q.view.reverse.index()
	switch {
	case n.kind != nameService:
		return nil, 0, false
	case x == nil && q.zones.haveReverse():
		return nil, resultServFail, true // it's built within a second
	case x == nil:
		return nil, 0, false
	}
	way, known := x.clusters[string(n.key[:len(n.key)-len(n.namespace)-1])]
	if !known {
		return nil, 0, false
	}
	switch q.qtype {
	case dns.TypeA, dns.TypeAAAA:
		if m := q.addressReply(&way, q.random()); m != nil {
			return m, resultAnswer, true
		}
	case dns.TypeANY:
		m, res = q.minimal()
		return m, res, true
	}
	return nil, resultNoData, true
}
