package isthmus

import (
	"context"
	"testing"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// Whatever message arrives: no panic, and a reply is one to that message, can
// be packed, fits the client's buffer, and has an SOA record when it has no
// answer.
func FuzzServeDNS(f *testing.F) {
	for _, bc := range benchmarks {
		packed, err := question(bc.qname, bc.qtype).Pack()
		require.NoError(f, err)
		f.Add(packed)
	}
	for _, qname := range []string{
		"us-west1-a.pin._zone.orders.production.global.", "x.prefer._region.users.global.", "_zone.users.global.",
		"15443.gateway.east.user-service.production.global.", "_443._https.user-service.production.global.",
		"_why.users.global.", "_clusters.global.", "global.", "ns.dns.global.", "dns-version.global.",
		"orders-0.west.orders.production.global.", `a\.b.global.`, `\000.production.global.`,
	} {
		for _, qtype := range []uint16{dns.TypeTXT, dns.TypeA, dns.TypeSRV, dns.TypeHTTPS, dns.TypeSVCB} {
			req := question(qname, qtype)
			req.SetEdns0(512, true)
			packed, err := req.Pack()
			require.NoError(f, err)
			f.Add(packed)
		}
	}
	for _, qname := range []string{
		"7.100.51.198.in-addr.arpa.", "100.51.198.in-addr.arpa.", "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
		"svc.clusterset.local.", "north.gateway.global.",
	} {
		packed, err := question(qname, dns.TypePTR).Pack()
		require.NoError(f, err)
		f.Add(packed)
	}
	for _, qname := range []string{
		"_http._tcp.peers.data.svc.clusterset.local.", "_http._tcp.same.data.svc.clusterset.local.", "10-7-0-3.north.peers.data.svc.clusterset.local.",
	} {
		packed, err := question(qname, dns.TypeSRV).Pack()
		require.NoError(f, err)
		f.Add(packed)
	}
	p := manyZones(f, kindsTable(f))
	p.view.link.(*fakeLink).stale.Store(true)
	p.Next = test.NextHandler(dns.RcodeRefused, nil)
	f.Fuzz(func(t *testing.T, packet []byte) {
		req := new(dns.Msg)
		if req.Unpack(packet) != nil {
			t.Skip()
		}
		sent := req.Copy()
		w := dnstest.NewRecorder(&test.ResponseWriter{})
		rcode, err := p.ServeDNS(context.Background(), scrub(req, w), req)
		require.NoError(t, err)
		if w.Msg == nil {
			require.Contains(t, []int{dns.RcodeRefused, dns.RcodeFormatError, dns.RcodeServerFailure, dns.RcodeNotImplemented}, rcode)
			return
		}
		require.Equal(t, w.Msg.Rcode, rcode)
		require.Equal(t, sent.Question, w.Msg.Question)
		require.Equal(t, sent.Id, w.Msg.Id)
		require.True(t, w.Msg.Response)
		for _, rr := range w.Msg.Answer {
			require.Equal(t, sent.Question[0].Name, rr.Header().Name)
		}
		if len(w.Msg.Answer) == 0 && !w.Msg.Truncated {
			require.Len(t, w.Msg.Ns, 1)
		}
		if sent.IsEdns0() == nil {
			require.Nil(t, w.Msg.IsEdns0())
		}
		packed, err := w.Msg.Pack()
		require.NoError(t, err)
		size := 512
		if opt := sent.IsEdns0(); opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
		require.LessOrEqual(t, len(packed), size)
	})
}

// Any Corefile is either read or refused.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"isthmus {\n watcher a\n insecure\n}", "isthmus a b {\n tls x y z\n}", "isthmus", "isthmus {\n locality a/b/c/d\n}",
		"isthmus {\n watcher [::1]:1 ::1 a:b:c\n}", "isthmus 10.0.0.0/9 {\n watcher a\n insecure\n}",
		"isthmus global 10.0.0.0/9 ip6.arpa {\n watcher a\n insecure\n mcs clusterset.local global\n}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s, err := parse(controller(body, "dns://.:53"))
		if err == nil && s.link.watchers != "" {
			require.NotEmpty(t, s.zones)
			require.NotContains(t, s.zones.origins(), ".")
			for _, z := range s.zones {
				require.Equal(t, z.kind == zoneReverse, isReverse(z.origin))
				require.True(t, z.names != nil || z.kind == zoneMCS)
			}
		}
	})
}
