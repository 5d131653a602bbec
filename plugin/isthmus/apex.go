package isthmus

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/discovery"
)

// dnsVersion is the version of the Kubernetes DNS specification whose names
// are served, as CoreDNS's kubernetes plugin tells it.
const dnsVersion = "1.1.0"

// Timers of the SOA record are those of CoreDNS's own plugins.
const (
	soaRefresh = 7200
	soaRetry   = 1800
	soaExpire  = 86400
)

// soa is the zone's SOA record; its minimum is how long a resolver keeps
// NODATA and NXDOMAIN (RFC 2308 section 4).
func (q *query) soa(owner string) dns.SOA {
	return dns.SOA{
		Hdr:     dns.RR_Header{Name: owner, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: q.ttl},
		Ns:      q.zone.server,
		Mbox:    q.zone.mailbox,
		Serial:  q.view.currentSerial(),
		Refresh: soaRefresh,
		Retry:   soaRetry,
		Expire:  soaExpire,
		Minttl:  q.ttl,
	}
}

// apex answers the zone's own name.
func (q *query) apex() (*dns.Msg, result) {
	switch q.qtype {
	case dns.TypeSOA:
		soa := q.soa(q.owner())
		return q.records(&soa)
	case dns.TypeNS:
		m, res := q.records(&dns.NS{Hdr: q.header(dns.TypeNS), Ns: q.zone.server})
		m.Extra = q.serverRecords(q.zone.server, dns.TypeANY)
		return m, res
	case dns.TypeANY:
		return q.minimal()
	}
	return nil, resultNoData
}

// nameServer answers ns.dns.ZONE.
func (q *query) nameServer() (*dns.Msg, result) {
	if q.qtype == dns.TypeANY {
		return q.minimal()
	}
	rrs := q.serverRecords(q.owner(), q.qtype)
	if len(rrs) == 0 {
		return nil, resultNoData
	}
	return q.records(rrs...)
}

// version answers dns-version.ZONE.
func (q *query) version() (*dns.Msg, result) {
	switch q.qtype {
	case dns.TypeTXT:
		return q.records(&dns.TXT{Hdr: q.header(dns.TypeTXT), Txt: []string{q.zone.version()}})
	case dns.TypeANY:
		return q.minimal()
	}
	return nil, resultNoData
}

// serverRecords are the addresses of this server, of one type or of both.
func (q *query) serverRecords(owner string, qtype uint16) []dns.RR {
	var rrs []dns.RR
	for _, addr := range q.server {
		h := dns.RR_Header{Name: owner, Class: dns.ClassINET, Ttl: q.ttl}
		switch {
		case addr.Is4() && (qtype == dns.TypeA || qtype == dns.TypeANY):
			h.Rrtype = dns.TypeA
			rrs = append(rrs, &dns.A{Hdr: h, A: addr.AsSlice()})
		case addr.Is6() && (qtype == dns.TypeAAAA || qtype == dns.TypeANY):
			h.Rrtype = dns.TypeAAAA
			rrs = append(rrs, &dns.AAAA{Hdr: h, AAAA: addr.AsSlice()})
		}
	}
	return rrs
}

// serverAddrs are the addresses that a name server's client may use.
type serverAddrs []netip.Addr

// boundAddrs finds the addresses of a server from the hosts that it is bound
// to, of the machine's interfaces when that is all of them. Loopback counts
// only if there is nothing else.
func boundAddrs(hosts []string) serverAddrs {
	var bound, loopback serverAddrs
	add := func(addr netip.Addr) {
		addr = addr.Unmap().WithZone("")
		switch {
		case addr.IsLoopback():
			loopback = append(loopback, addr)
		case addr.IsGlobalUnicast() && len(bound) < discovery.MaxAddresses:
			bound = append(bound, addr)
		}
	}
	for _, host := range hosts {
		if addr, err := netip.ParseAddr(host); err == nil && !addr.IsUnspecified() {
			add(addr)
			continue
		}
		all, err := net.InterfaceAddrs()
		if err != nil {
			continue
		}
		for _, a := range all {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				add(prefix.Addr())
			}
		}
	}
	if len(bound) == 0 {
		return loopback
	}
	return bound
}

// serial is the SOA serial: the Unix time of the last change that was noticed,
// of the table or of what else answers are made from, and always more than
// before. Agents count by themselves: nobody compares serials of two of them.
type serial struct{ state atomic.Pointer[serialState] }

type serialState struct {
	seen contents
	n    uint32
}

// contents tells what a zone holds from what it held before.
type contents struct {
	reverseState
	reverse *reverseIndex
	facts   *facts // nil without a view
}

func (v *viewpoint) currentSerial() uint32 {
	seen := contents{
		reverseState: reverseState{first: firstState(v.outlook.table), view: v.link.View(), names: v.names.Generation()},
		reverse:      v.reverse.index(),
	}
	if seen.view != nil {
		seen.facts = v.outlook.facts(seen.view)
	}
	return v.serial.current(seen)
}

func (s *serial) current(seen contents) uint32 {
	old := s.state.Load()
	if old != nil && old.seen == seen {
		return old.n
	}
	next := &serialState{seen: seen, n: uint32(time.Now().Unix())}
	if old != nil && int32(next.n-old.n) <= 0 { // RFC 1982 arithmetic
		next.n = old.n + 1
	}
	if !s.state.CompareAndSwap(old, next) {
		return s.state.Load().n
	}
	return next.n
}
