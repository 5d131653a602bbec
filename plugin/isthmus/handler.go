package isthmus

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/fall"
	"github.com/coredns/coredns/plugin/ready"
	"github.com/miekg/dns"
)

const pluginName = "isthmus"

// Isthmus is one stanza of a Corefile.
type Isthmus struct {
	// Next is the plugin that gets what isn't ours.
	Next plugin.Handler

	zones   zones
	ttl     uint32 // seconds; of all records, and of NODATA and NXDOMAIN
	fall    fall.F
	view    *viewpoint
	metrics *metrics
	random  func() uint64 // uniform; safe for concurrent use
	server  serverAddrs   // of ns.dns.ZONE; set before the first query
	// told tells that the metadata plugin wants to know what queries come to;
	// set before the first query.
	told bool

	transfers atomic.Int32 // that are under way
}

var (
	_ plugin.Handler  = (*Isthmus)(nil)
	_ ready.Readiness = (*Isthmus)(nil)
)

// Name implements plugin.Handler.
func (*Isthmus) Name() string { return pluginName }

// Ready implements ready.Readiness: there is a state to answer from, be it
// stale.
func (p *Isthmus) Ready() bool {
	if !p.view.link.Table().Loaded() || p.view.link.View() == nil {
		return false
	}
	return p.view.reverse.index() != nil || !p.zones.haveReverse()
}

// CacheBypassZones implements cache.ZoneBypasser: in a server block of ours the
// cache plugin asks us each time. It could only keep one cluster's addresses
// for all clients, and finding them costs no more than looking them up there.
func (p *Isthmus) CacheBypassZones() []string { return p.zones.origins() }

// ServeDNS implements plugin.Handler. Errors and refusals are left to CoreDNS
// to write, as its plugins do.
func (p *Isthmus) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if len(r.Question) != 1 || len(r.Extra) > 1 && severalOPT(r) { // RFC 9619, RFC 6891 section 6.1.1
		p.metrics.requests[resultFormErr].Inc()
		return dns.RcodeFormatError, nil
	}
	lower := strings.ToLower(r.Question[0].Name) // allocates only if it changes something
	z := p.zones.match(lower)
	if z == nil {
		return plugin.NextOrFailure(p.Name(), p.Next, ctx, w, r)
	}
	if r.Question[0].Qtype == dns.TypeDS {
		z = p.zones.parentSide(z, lower)
	}
	if r.Opcode != dns.OpcodeQuery { // CoreDNS lets NOTIFY through; nobody is our primary
		p.metrics.requests[resultRefused].Inc()
		return dns.RcodeNotImplemented, nil
	}
	q := query{Isthmus: p, w: w, req: r, zone: z, name: lower, qtype: r.Question[0].Qtype}
	m, res := q.answer()
	if res == resultNXDomain && p.zones.above(lower) {
		res = resultNoData // an empty non-terminal, whatever kinds the two zones are
	}
	if res == resultNXDomain && p.fall.Through(lower) {
		res = resultFallthrough
	}
	p.metrics.requests[res].Inc()
	if p.told {
		q.tell(ctx, res)
	}
	switch res {
	case resultFallthrough:
		return plugin.NextOrFailure(p.Name(), p.Next, ctx, w, r)
	case resultServFail:
		return dns.RcodeServerFailure, nil
	case resultRefused:
		return dns.RcodeRefused, nil
	case resultNoData, resultNXDomain:
		m = q.negative(res)
	}
	switch {
	case p.view.link.Stale():
		markStale(m, r, "no watcher connected")
	case q.stale:
		markStale(m, r, "no news of the cluster")
	}
	fitAdditional(m, w, r)
	_ = w.WriteMsg(m) // a client that went away is nobody's error
	return m.Rcode, nil
}

// severalOPT tells whether there is more than one OPT record.
func severalOPT(r *dns.Msg) bool {
	n := 0
	for _, rr := range r.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			n++
		}
	}
	return n > 1
}

// markStale adds an Extended DNS Error, which only a client that speaks EDNS
// may get: 3, or 19 with NXDOMAIN (RFC 8914 sections 4.4 and 4.20).
func markStale(m, r *dns.Msg, why string) {
	if r.IsEdns0() == nil {
		return
	}
	ede := &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeStaleAnswer, ExtraText: why}
	if m.Rcode == dns.RcodeNameError {
		ede.InfoCode = dns.ExtendedErrorCodeStaleNXDOMAINAnswer
	}
	// Size, version and flags are filled in by CoreDNS from the request's.
	m.Extra = append(m.Extra, &dns.OPT{
		Hdr:    dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT},
		Option: []dns.EDNS0{ede},
	})
}
