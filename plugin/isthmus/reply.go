package isthmus

import (
	"net"

	"github.com/miekg/dns"
)

// inline is the number of addresses up to which a reply is one allocation.
// Most load balancers have one to three addresses.
const inline = 4

// head is what all replies have. With the records in one piece after it, a
// reply is one allocation, sized for one address or for a few: what a query
// allocates is most of what it costs, since the collector must follow. Records
// are made anew for each reply because other plugins change what passes them;
// only the octets of addresses are shared.
type head struct {
	msg      dns.Msg
	question [1]dns.Question
	extra    [1]dns.RR // room for CoreDNS's OPT record
}

type (
	replyA1 struct {
		head
		rrs     [1]dns.RR
		records [1]dns.A
	}
	replyA struct {
		head
		rrs     [inline]dns.RR
		records [inline]dns.A
	}
	replyAAAA1 struct {
		head
		rrs     [1]dns.RR
		records [1]dns.AAAA
	}
	replyAAAA struct {
		head
		rrs     [inline]dns.RR
		records [inline]dns.AAAA
	}
)

// start fills in what all replies have in common.
func (q *query) start(h *head) *dns.Msg {
	m := &h.msg
	m.MsgHdr = dns.MsgHdr{
		Id:               q.req.Id,
		Response:         true,
		Opcode:           q.req.Opcode,
		Authoritative:    true,
		RecursionDesired: q.req.RecursionDesired,
		CheckingDisabled: q.req.CheckingDisabled,
	}
	h.question[0] = q.req.Question[0]
	m.Question = h.question[:]
	m.Extra = h.extra[:0]
	return m
}

func (q *query) header(rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: q.owner(), Rrtype: rrtype, Class: dns.ClassINET, Ttl: q.ttl}
}

// addressReply answers A or AAAA with all addresses of a way, or of one of its
// gateways if they differ in weight, beginning at any of them by r; nil if
// there is none of the family.
func (q *query) addressReply(way *addresses, r uint64) *dns.Msg {
	if q.qtype == dns.TypeAAAA {
		return q.replyAAAA(draw(way.v6, way.shares6, q.random), r)
	}
	return q.replyA(draw(way.v4, way.shares4, q.random), r)
}

func (q *query) replyA(ips []net.IP, r uint64) *dns.Msg {
	var h *head
	var rrs []dns.RR
	var records []dns.A
	switch n := len(ips); {
	case n == 0:
		return nil
	case n == 1:
		m := &replyA1{}
		h, rrs, records = &m.head, m.rrs[:], m.records[:]
	case n <= inline:
		m := &replyA{}
		h, rrs, records = &m.head, m.rrs[:n], m.records[:n]
	default:
		h, rrs, records = &head{}, make([]dns.RR, n), make([]dns.A, n)
	}
	at := int(uint32(r) % uint32(len(ips)))
	for i := range records {
		records[i] = dns.A{Hdr: q.header(dns.TypeA), A: ips[at]}
		rrs[i] = &records[i]
		if at++; at == len(ips) {
			at = 0
		}
	}
	m := q.start(h)
	m.Answer = rrs
	return m
}

func (q *query) replyAAAA(ips []net.IP, r uint64) *dns.Msg {
	var h *head
	var rrs []dns.RR
	var records []dns.AAAA
	switch n := len(ips); {
	case n == 0:
		return nil
	case n == 1:
		m := &replyAAAA1{}
		h, rrs, records = &m.head, m.rrs[:], m.records[:]
	case n <= inline:
		m := &replyAAAA{}
		h, rrs, records = &m.head, m.rrs[:n], m.records[:n]
	default:
		h, rrs, records = &head{}, make([]dns.RR, n), make([]dns.AAAA, n)
	}
	at := int(uint32(r) % uint32(len(ips)))
	for i := range records {
		records[i] = dns.AAAA{Hdr: q.header(dns.TypeAAAA), AAAA: ips[at]}
		rrs[i] = &records[i]
		if at++; at == len(ips) {
			at = 0
		}
	}
	m := q.start(h)
	m.Answer = rrs
	return m
}

// replySOA is a NODATA or NXDOMAIN message in one piece.
type replySOA struct {
	head
	ns  [1]dns.RR
	soa dns.SOA
}

// negative is NODATA or NXDOMAIN; the SOA record says how long it may be kept
// (RFC 2308 section 3).
func (q *query) negative(res result) *dns.Msg {
	reply := &replySOA{soa: q.soa(q.zone.origin)}
	reply.ns[0] = &reply.soa
	m := q.start(&reply.head)
	m.Ns = reply.ns[:]
	if res == resultNXDomain {
		m.Rcode = dns.RcodeNameError
	}
	return m
}

// records answers with records that were made for this reply.
func (q *query) records(rrs ...dns.RR) (*dns.Msg, result) {
	m := q.start(&head{})
	m.Answer = rrs
	return m, resultAnswer
}

// minimal answers ANY for a name that has records (RFC 8482 section 4.2).
func (q *query) minimal() (*dns.Msg, result) {
	return q.records(&dns.HINFO{Hdr: q.header(dns.TypeHINFO), Cpu: "RFC8482"})
}
