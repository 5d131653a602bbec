package isthmus

import (
	"slices"

	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/discovery"
)

// importedWeight is the weight of an SRV record that stands for a whole
// service, as CoreDNS's kubernetes plugin has it. Alone in its RRset, any but 0
// would do.
const importedWeight = 100

// importedPort answers _port._proto names. Unnamed ports have none.
func (q *query) importedPort(a *answers, i *imported, n name) (*dns.Msg, result) {
	if !a.hasNamedPort(n) {
		return nil, resultNXDomain
	}
	switch q.qtype {
	case dns.TypeSRV:
	case dns.TypeANY:
		return q.minimal()
	default:
		return nil, resultNoData
	}
	if i.headless {
		return q.hostPorts(a, i, n)
	}
	return q.servicePort(a, i, n)
}

// servicePort answers with the service's own name as the target (section
// 2.3.2), if the port is the same wherever that name may lead: A and AAAA of it
// are chosen by another query than this one. If it isn't, because gateways
// listen on ports of their own, each cluster needs a target of its own. An MCS
// zone must not have such names (section 2.3.4), the plain zone has: the answer
// is then the plain zone's. A stanza without a plain zone answers NODATA, since
// any record would send some clients to a port where nothing listens.
func (q *query) servicePort(a *answers, i *imported, n name) (*dns.Msg, result) {
	r := q.random()
	v4, v6 := q.pick(a.v4, r), q.pick(a.v6, r)
	if v4 < 0 && v6 < 0 {
		return nil, a.nothing()
	}
	port := i.ports[portName{n.port, protocolOf(n.proto)}]
	switch {
	case port == 0 && q.zone.names == nil:
		return nil, resultNoData
	case port == 0:
		plain := *q
		plain.zone = q.zone.names
		m, res := plain.srv(a, -1, n)
		q.stale = plain.stale
		return m, res
	}
	target := string(a.entry.Key) + "." + labelSvc + "." + q.zone.origin
	m, res := q.records(&dns.SRV{Hdr: q.header(dns.TypeSRV), Weight: importedWeight, Port: port, Target: target})
	x := additional{ttl: q.ttl}
	if v4 >= 0 {
		x.add(target, &addresses{v4: a.ways[v4].v4})
		q.stale = a.v4.Verdicts[v4].Stale
	}
	if v6 >= 0 {
		x.add(target, &addresses{v6: a.ways[v6].v6})
		q.stale = q.stale || a.v6.Verdicts[v6].Stale
	}
	m.Extra = x.rrs
	return m, res
}

// hostPorts answers with a target for each endpoint of a headless service
// (section 2.4.2), but for those behind gateways that are down while there are
// others: who takes the records for a list of members would wait for each.
func (q *query) hostPorts(a *answers, i *imported, n name) (*dns.Msg, result) {
	m := q.start(&head{})
	x := additional{ttl: q.ttl}
	some := slices.ContainsFunc(i.hosts, func(h importedHost) bool { return h.answered() })
	for at := range i.hosts {
		h := &i.hosts[at]
		target := h.owner + "." + labelSvc + "." + q.zone.origin
		if !h.way.reach.OK() || some && !h.answered() || len(target) > maxName {
			continue
		}
		before := len(m.Answer)
		m.Answer = q.addHostPorts(m.Answer, a.entry.Candidates[h.candidate].Service, h.way, n, target)
		if len(m.Answer) > before {
			x.add(target, h.way)
			q.stale = q.stale || h.way.stale
		}
	}
	if len(m.Answer) == 0 {
		return nil, a.nothing()
	}
	m.Extra = x.rrs
	return m, resultAnswer
}

// addHostPorts adds the records of one endpoint: one in most cases, since port
// names differ within a service.
func (q *query) addHostPorts(rrs []dns.RR, s *discovery.Service, way *addresses, n name, target string) []dns.RR {
	var last uint16
	for _, p := range s.Ports {
		port := way.port(&p)
		if !n.matches(&p) || port == last || len(rrs) == maxSRV {
			continue
		}
		last = port
		rrs = append(rrs, &dns.SRV{
			Hdr:      q.header(dns.TypeSRV),
			Priority: way.priority, Weight: importedWeight, Port: port, Target: target,
		})
	}
	return rrs
}

// protocolOf is the inverse of discovery.Protocol's String, 0 for none.
func protocolOf(label string) discovery.Protocol {
	for _, p := range []discovery.Protocol{discovery.TCP, discovery.UDP, discovery.SCTP} {
		if p.String() == label {
			return p
		}
	}
	return 0
}
