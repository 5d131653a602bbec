package isthmus

import (
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// fitAdditional leaves out additional addresses that don't fit the reply when all the rest
// does. CoreDNS would set TC for them, and make the client ask again by TCP for
// what it may ask for by name, or not need at all (RFC 2181 section 9).
func fitAdditional(m *dns.Msg, w dns.ResponseWriter, r *dns.Msg) {
	if len(m.Extra) == 0 {
		return
	}
	// The reply gets the request's OPT record, with some of its options. It is
	// counted as it is.
	var opt *dns.OPT
	room := dns.MinMsgSize
	if m.IsEdns0() == nil {
		if opt = r.IsEdns0(); opt != nil {
			room -= dns.Len(opt)
		}
	}
	if smallest(m) <= room {
		return
	}
	state := request.Request{W: w, Req: r}
	if state.Proto() != "udp" {
		return
	}
	cut := *m
	cut.Answer, cut.Extra = append([]dns.RR(nil), m.Answer...), append([]dns.RR(nil), m.Extra...)
	if opt != nil {
		cut.Extra = append(cut.Extra, opt)
	}
	cut.Truncate(state.Size())
	if !cut.Truncated || len(cut.Answer) < len(m.Answer) || len(cut.Ns) < len(m.Ns) {
		return // all fits, or TC is due
	}
	if opt != nil {
		cut.Extra = cut.Extra[:len(cut.Extra)-1]
	}
	m.Extra = wholeSets(cut.Extra, m.Extra)
}

// smallest is the length of a reply whose records' owners are all compressed, as
// ours are: each is the question's or the target of a record before. It costs
// little, and tells of most replies that they fit any client's buffer.
func smallest(m *dns.Msg) int {
	const header, owner, fixed, srv = 12, 2, 10, 6
	n := header + len(m.Question[0].Name) + 1 + 4
	for _, rrs := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range rrs {
			n += owner + fixed
			switch rr := rr.(type) {
			case *dns.A:
				n += 4
			case *dns.AAAA:
				n += 16
			case *dns.SRV:
				n += srv + len(rr.Target) + 1
			default:
				n += dns.Len(rr)
			}
		}
	}
	return n
}

// wholeSets drops the last RRset if it is not whole.
func wholeSets(kept, all []dns.RR) []dns.RR {
	opt := 0
	if len(kept) > 0 && kept[len(kept)-1].Header().Rrtype == dns.TypeOPT {
		opt = 1
	}
	n := len(kept) - opt
	if n < len(all) && n > 0 {
		next := all[n].Header()
		for n > 0 && kept[n-1].Header().Name == next.Name && kept[n-1].Header().Rrtype == next.Rrtype {
			n--
		}
	}
	return append(kept[:n:n], kept[len(kept)-opt:]...)
}
