package isthmus

import "github.com/miekg/dns"

// srvRecord is an SRV record with room for its target's first address.
type srvRecord struct {
	srv dns.SRV
	a   dns.A
}

// SRV replies of two and of three records are one allocation; see head.
type (
	replySRV2 struct {
		head
		rrs     [2*2 + 1]dns.RR // the last is room for CoreDNS's OPT record
		records [2]srvRecord
	}
	replySRV3 struct {
		head
		rrs     [2*3 + 2]dns.RR // and for a second address
		records [3]srvRecord
	}
)

func (q *query) srvReply(items []srvItem) *dns.Msg {
	var h *head
	var rrs []dns.RR
	var records []srvRecord
	n := len(items)
	switch {
	case n <= 2:
		m := &replySRV2{}
		h, rrs, records = &m.head, m.rrs[:], m.records[:n]
	case n <= 3:
		m := &replySRV3{}
		h, rrs, records = &m.head, m.rrs[:], m.records[:]
	default:
		h, rrs, records = &head{}, make([]dns.RR, 2*n+1), make([]srvRecord, n)
	}
	extra := additional{ttl: q.ttl, rrs: rrs[n:n], room: records}
	for i := range items {
		item, rr := &items[i], &records[i].srv
		rr.Hdr = q.header(dns.TypeSRV)
		rr.Priority = uint16(item.priority)
		rr.Weight = item.target.weight
		rr.Port = item.port
		rr.Target = item.target.name
		rrs[i] = rr
		if !seen(items[:i], item.target) {
			extra.add(rr.Target, item.target.way)
		}
	}
	m := q.start(h)
	m.Answer, m.Extra = rrs[:n:n], extra.rrs
	return m
}

func seen(items []srvItem, t *target) bool {
	for i := range items {
		if items[i].target == t {
			return true
		}
	}
	return false
}

// additional collects the addresses of SRV targets.
type additional struct {
	ttl  uint32
	rrs  []dns.RR
	room []srvRecord // whose A records are free; records beyond are allocated
}

func (x *additional) add(owner string, way *addresses) {
	if len(x.rrs)+len(way.v4)+len(way.v6) > maxSRVAddresses {
		return // an RRset is whole or not there
	}
	for _, ip := range way.v4 {
		rr := x.newA()
		rr.Hdr = dns.RR_Header{Name: owner, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: x.ttl}
		rr.A = ip
		x.rrs = append(x.rrs, rr)
	}
	for _, ip := range way.v6 {
		h := dns.RR_Header{Name: owner, Rrtype: dns.TypeAAAA, Class: dns.ClassINET, Ttl: x.ttl}
		x.rrs = append(x.rrs, &dns.AAAA{Hdr: h, AAAA: ip})
	}
}

func (x *additional) newA() *dns.A {
	if len(x.room) == 0 {
		return &dns.A{}
	}
	rr := &x.room[0].a
	x.room = x.room[1:]
	return rr
}
