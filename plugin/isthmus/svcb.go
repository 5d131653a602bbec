package isthmus

import (
	"strings"

	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

const (
	// maxHints limits the addresses of each family that one SVCB record brings
	// along. They only save a lookup of the target, which has them all (RFC
	// 9460 section 7.3).
	maxHints = 8
	// httpsPort is the port that a URL without one means.
	httpsPort = 443
)

// https answers HTTPS: a service binding for each candidate that has a port for
// it. Where there is none, there must be no record: browsers that see one go to
// https even from http (RFC 9460 section 9.5).
func (q *query) https(a *answers, one int, n name) (*dns.Msg, result) {
	if !a.hasHTTPS(one, n) {
		return nil, resultNoData
	}
	t := a.targetsIn(q.zone.origin)
	var items []srvItem
	for i, v := range a.all.Verdicts {
		if v.Tier == locality.TierOut || one >= 0 && i != one {
			continue
		}
		if p := webPort(a.entry.Candidates[i].Service.Ports, n); p != nil {
			before := len(items)
			items = q.offer(items, before, t, i, p, v.Priority)
			q.stale = q.stale || v.Stale && len(items) > before
		}
	}
	return q.bindings(a, one, items)
}

// hasHTTPS tells whether there is a port for HTTPS: in all clusters that are
// answered now. If one of them lacks it, records of the others would draw
// browsers away from it, and any cluster that exports a service of the same name
// with such a port could have its clients.
func (a *answers) hasHTTPS(one int, n name) bool {
	found := false
	for i, c := range a.entry.Candidates {
		if one >= 0 && i != one {
			continue
		}
		has := webPort(c.Service.Ports, n) != nil
		if !has && one < 0 && a.all.Verdicts[i].In {
			return false
		}
		found = found || has
	}
	return found
}

// webPort is the port that a cluster's service speaks HTTPS on: the one with
// the number in a name, or for a name without one the port that a URL without
// one means best. One only, since the records of a name are alternatives: each
// must lead to the same thing. Nil if there is none.
func webPort(ports []discovery.Port, n name) (best *discovery.Port) {
	rank := 0
	for i := range ports {
		p := &ports[i]
		if r := webRank(p); r > rank && (n.port == "" || isNumber(n.port, p.Port)) {
			best, rank = p, r
		}
	}
	return best
}

// webRank tells how surely a port speaks HTTPS, 0 for not at all.
func webRank(p *discovery.Port) int {
	switch {
	case p.Protocol != discovery.TCP:
		return 0
	case p.Port == httpsPort:
		return 3
	case p.Name == "https":
		return 2
	case strings.HasPrefix(p.Name, "https-"):
		return 1
	}
	return 0
}

// svcb answers SVCB for a port, or for a service's own name, where the client
// knows the port but doesn't say it.
func (q *query) svcb(a *answers, one int, n name) (*dns.Msg, result) {
	t := a.targetsIn(q.zone.origin)
	var items []srvItem
	for i, v := range a.all.Verdicts {
		if v.Tier == locality.TierOut || one >= 0 && i != one {
			continue
		}
		own, ports := len(items), a.entry.Candidates[i].Service.Ports
		switch {
		case n.port != "":
			for k := range ports {
				if n.matches(&ports[k]) {
					items = q.offer(items, own, t, i, &ports[k], v.Priority)
				}
			}
		case a.ways[i].keepsPorts(ports):
			items = q.add(items, own, &t.whole[i], 0, v.Priority)
		case a.ways[i].joinsPorts(ports):
			items = q.offer(items, own, t, i, &ports[0], v.Priority)
		}
		q.stale = q.stale || v.Stale && len(items) > own
	}
	return q.bindings(a, one, items)
}

// keepsPorts tells whether a way leads to several ports, all by the service's
// own numbers: then a record without a port says so.
func (a *addresses) keepsPorts(ports []discovery.Port) bool {
	for i := range ports {
		if p := &ports[i]; a.divided(p) || a.port(p) != p.Port {
			return false
		}
	}
	return len(ports) != 1
}

// joinsPorts tells whether all of a service's ports are found in the same
// places; there is one.
func (a *addresses) joinsPorts(ports []discovery.Port) bool {
	first := &ports[0]
	for k := range ports {
		p := &ports[k]
		if a.divided(p) != a.divided(first) || a.port(p) != a.port(first) {
			return false
		}
		for i := range a.ports {
			if portAt(a.ports[i].port, p) != portAt(a.ports[i].port, first) {
				return false
			}
		}
	}
	return true
}

// binding is an SVCB or HTTPS record and what it points to, in one piece.
type binding struct {
	rr     dns.HTTPS // SVCB is a part of it
	port   dns.SVCBPort
	v4     dns.SVCBIPv4Hint
	v6     dns.SVCBIPv6Hint
	values [3]dns.SVCBKeyValue
}

// bindings makes the reply: records in ServiceMode, the tier as priority, which
// begins at 1 since 0 is AliasMode (RFC 9460 section 2.4). They have no weight;
// their order is drawn by it as that of SRV records.
func (q *query) bindings(a *answers, one int, items []srvItem) (*dns.Msg, result) {
	if len(items) == 0 {
		return nil, a.nothingAt(one)
	}
	items = ranked(items)
	records := make([]binding, len(items))
	rrs := make([]dns.RR, len(items))
	extra := additional{ttl: q.ttl}
	for i := range items {
		rrs[i] = q.bind(&records[i], &items[i])
		if !seen(items[:i], items[i].target) {
			extra.add(items[i].target.name, items[i].target.way)
		}
	}
	m := q.start(&head{})
	m.Answer, m.Extra = rrs, extra.rrs
	return m, resultAnswer
}

func (q *query) bind(b *binding, item *srvItem) dns.RR {
	b.rr.Hdr = q.header(q.qtype)
	b.rr.Priority = uint16(item.priority) + 1
	b.rr.Target = item.target.name
	values, way := b.values[:0], item.target.way // in the order of their keys
	if item.port != 0 {
		b.port.Port = item.port
		values = append(values, &b.port)
	}
	if n := min(len(way.v4), maxHints); n > 0 {
		b.v4.Hint = way.v4[:n:n]
		values = append(values, &b.v4)
	}
	if n := min(len(way.v6), maxHints); n > 0 {
		b.v6.Hint = way.v6[:n:n]
		values = append(values, &b.v6)
	}
	b.rr.Value = values
	if q.qtype == dns.TypeSVCB {
		return &b.rr.SVCB
	}
	return &b.rr
}
