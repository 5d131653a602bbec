package isthmus

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// The DNS's trees of addresses (RFC 1035 section 3.5, RFC 3596 section 2.5).
const (
	arpa4 = "in-addr.arpa."
	arpa6 = "ip6.arpa."
)

// reverse answers a name in a reverse zone: the names of an address.
func (q *query) reverse() (*dns.Msg, result) {
	x := q.view.reverse.index()
	if x == nil {
		return nil, resultServFail // it's built within a second
	}
	apex := q.name == q.zone.origin
	if apex && (q.qtype == dns.TypeSOA || q.qtype == dns.TypeNS || q.qtype == dns.TypeANY) {
		return q.apex()
	}
	p := parseReverse(q.name)
	switch {
	case !p.IsValid():
		return nil, emptyIf(apex)
	case !p.IsSingleIP():
		return nil, emptyIf(apex || x.has(p))
	}
	names := x.names(p.Addr(), q.zone.names.origin)
	switch {
	case len(names) == 0:
		return nil, emptyIf(apex)
	case q.qtype == dns.TypePTR:
		rrs := make([]dns.RR, len(names))
		for i, target := range names {
			rrs[i] = &dns.PTR{Hdr: q.header(dns.TypePTR), Ptr: target}
		}
		return q.records(rrs...)
	case q.qtype == dns.TypeANY:
		return q.minimal()
	}
	return nil, resultNoData
}

// parseReverse reads the address, or for an inner name all addresses below it,
// from a name (lower case, fully qualified); not valid if it is none in the
// one form that each address has.
func parseReverse(name string) netip.Prefix {
	switch {
	case strings.HasPrefix(name, "."): // an empty label; the wire has none
	case within(arpa4, name):
		return parseReverse4(name[:len(name)-len(arpa4)])
	case within(arpa6, name):
		return parseReverse6(name[:len(name)-len(arpa6)])
	}
	return netip.Prefix{}
}

// parseReverse4 reads decimal octets, the last of the address first.
func parseReverse4(rest string) netip.Prefix {
	var octets [4]byte
	n := 0
	for rest = strings.TrimSuffix(rest, "."); rest != ""; n++ {
		var label string
		rest, label = cutLast(rest)
		octet, err := strconv.ParseUint(label, 10, 8)
		if n == len(octets) || err != nil || label != strconv.FormatUint(octet, 10) {
			return netip.Prefix{}
		}
		octets[n] = byte(octet)
	}
	return netip.PrefixFrom(netip.AddrFrom4(octets), 8*n)
}

// parseReverse6 reads hexadecimal digits, the last of the address first.
func parseReverse6(rest string) netip.Prefix {
	var octets [16]byte
	n := 0
	for rest = strings.TrimSuffix(rest, "."); rest != ""; n++ {
		var label string
		rest, label = cutLast(rest)
		if n == 2*len(octets) || len(label) != 1 {
			return netip.Prefix{}
		}
		digit, err := strconv.ParseUint(label, 16, 4)
		if err != nil {
			return netip.Prefix{}
		}
		octets[n/2] |= byte(digit) << (4 * (1 - n%2))
	}
	return netip.PrefixFrom(netip.AddrFrom16(octets), 4*n)
}
