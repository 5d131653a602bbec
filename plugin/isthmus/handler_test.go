package isthmus

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/pkg/fall"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

var soa = []dns.RR{test.SOA("global. 5 IN SOA ns.dns.global. hostmaster.global. 1 7200 1800 86400 5")}

func rrs(list ...string) []dns.RR {
	var out []dns.RR
	for _, s := range list {
		rr, err := dns.NewRR(s)
		if err != nil {
			panic(err)
		}
		out = append(out, rr)
	}
	return out
}

// Cases with an empty answer must carry the SOA record and nothing else.
func TestServeDNS(t *testing.T) {
	tests := []struct {
		name  string
		qname string
		qtype uint16
		rcode int
		want  []dns.RR
		extra []dns.RR
	}{
		{
			name: "own cluster's ClusterIP", qname: "user-service.production.global.", qtype: dns.TypeA,
			want: rrs("user-service.production.global. 5 IN A 10.1.0.1"),
		},
		{
			name: "own cluster's IPv6", qname: "user-service.production.global.", qtype: dns.TypeAAAA,
			want: rrs("user-service.production.global. 5 IN AAAA fd00:1::1"),
		},
		{
			name: "own headless: ready Pods", qname: "orders.production.global.", qtype: dns.TypeA,
			want: rrs("orders.production.global. 5 IN A 10.1.9.1", "orders.production.global. 5 IN A 10.1.9.2"),
		},
		{
			name: "remote: gateway", qname: "apollo-configservice.apollo.global.", qtype: dns.TypeA,
			want: rrs("apollo-configservice.apollo.global. 5 IN A 127.3.0.10"),
		},
		{name: "IPv4 only has no AAAA", qname: "apollo-configservice.apollo.global.", qtype: dns.TypeAAAA},
		{name: "no ready endpoint", qname: "down.production.global.", qtype: dns.TypeA},
		{name: "another type", qname: "user-service.production.global.", qtype: dns.TypeMX},
		{name: "HTTPS", qname: "user-service.production.global.", qtype: dns.TypeHTTPS},
		{name: "unknown type", qname: "user-service.production.global.", qtype: 65399},
		{name: "unknown service", qname: "nobody.production.global.", qtype: dns.TypeA, rcode: dns.RcodeNameError},
		{name: "unknown namespace", qname: "nowhere.global.", qtype: dns.TypeA, rcode: dns.RcodeNameError},
		{name: "star service", qname: "*.production.global.", qtype: dns.TypeA, rcode: dns.RcodeNameError},
		{name: "star namespace", qname: "user-service.*.global.", qtype: dns.TypeA, rcode: dns.RcodeNameError},
		{name: "star port", qname: "_*._tcp.user-service.production.global.", qtype: dns.TypeSRV, rcode: dns.RcodeNameError},
		{name: "star cluster", qname: "*.user-service.production.global.", qtype: dns.TypeA, rcode: dns.RcodeNameError},
		{name: "dot inside a label", qname: `user-service\.production.global.`, qtype: dns.TypeA, rcode: dns.RcodeNameError},
		{name: "too many labels", qname: "a.b.c.d.e.f.global.", qtype: dns.TypeA, rcode: dns.RcodeNameError},

		{name: "namespace", qname: "production.global.", qtype: dns.TypeA},
		{name: "_tcp", qname: "_tcp.user-service.production.global.", qtype: dns.TypeA},
		{name: "_udp that no port has", qname: "_udp.user-service.production.global.", qtype: dns.TypeA, rcode: dns.RcodeNameError},
		{name: "port name as A", qname: "_http._tcp.user-service.production.global.", qtype: dns.TypeA},
		{name: "port that isn't there", qname: "_https._tcp.user-service.production.global.", qtype: dns.TypeSRV, rcode: dns.RcodeNameError},
		{name: "port of a service that is down", qname: "_http._tcp.down.production.global.", qtype: dns.TypeSRV},

		{
			name: "per cluster: remote", qname: "east.user-service.production.global.", qtype: dns.TypeA,
			want: rrs("east.user-service.production.global. 5 IN A 127.3.0.10"),
		},
		{
			name: "per cluster: own", qname: "west.user-service.production.global.", qtype: dns.TypeA,
			want: rrs("west.user-service.production.global. 5 IN A 10.1.0.1"),
		},
		{name: "per cluster: down", qname: "west.down.production.global.", qtype: dns.TypeA},
		{name: "per cluster: not exported there", qname: "east.orders.production.global.", qtype: dns.TypeA, rcode: dns.RcodeNameError},
		{
			name: "per cluster: port", qname: "_http._tcp.east.user-service.production.global.", qtype: dns.TypeSRV,
			want:  rrs("_http._tcp.east.user-service.production.global. 5 IN SRV 3 3 15443 east.user-service.production.global."),
			extra: rrs("east.user-service.production.global. 5 IN A 127.3.0.10"),
		},
		{name: "per cluster: _tcp", qname: "_tcp.east.user-service.production.global.", qtype: dns.TypeSRV},
		{
			name: "host", qname: "orders-0.west.orders.production.global.", qtype: dns.TypeA,
			want: rrs("orders-0.west.orders.production.global. 5 IN A 10.1.9.1"),
		},
		{name: "host without IPv6", qname: "orders-0.west.orders.production.global.", qtype: dns.TypeAAAA},
		{name: "host that is not ready", qname: "orders-2.west.orders.production.global.", qtype: dns.TypeA},
		{name: "host that isn't there", qname: "orders-9.west.orders.production.global.", qtype: dns.TypeA, rcode: dns.RcodeNameError},
		{name: "host of a ClusterIP service", qname: "x.west.user-service.production.global.", qtype: dns.TypeA, rcode: dns.RcodeNameError},

		{
			name: "SRV of a NodePort", qname: "_http._tcp.apollo-configservice.apollo.global.", qtype: dns.TypeSRV,
			want:  rrs("_http._tcp.apollo-configservice.apollo.global. 5 IN SRV 3 1 30880 east.apollo-configservice.apollo.global."),
			extra: rrs("east.apollo-configservice.apollo.global. 5 IN A 127.3.0.10"),
		},
		{
			name: "SRV of the service's name", qname: "payment-service.production.global.", qtype: dns.TypeSRV,
			want: rrs("payment-service.production.global. 5 IN SRV 3 2 15443 east.payment-service.production.global.",
				"payment-service.production.global. 5 IN SRV 3 3 15443 central.payment-service.production.global."),
			extra: rrs("central.payment-service.production.global. 5 IN A 127.2.0.10", "east.payment-service.production.global. 5 IN A 127.3.0.10"),
		},
		{
			name: "SRV with tiers", qname: "user-service.production.global.", qtype: dns.TypeSRV,
			want: rrs("user-service.production.global. 5 IN SRV 0 2 80 west.user-service.production.global.",
				"user-service.production.global. 5 IN SRV 3 3 15443 central.user-service.production.global.",
				"user-service.production.global. 5 IN SRV 3 3 15443 east.user-service.production.global."),
			extra: rrs("central.user-service.production.global. 5 IN A 127.2.0.10", "east.user-service.production.global. 5 IN A 127.3.0.10",
				"west.user-service.production.global. 5 IN A 10.1.0.1", "west.user-service.production.global. 5 IN AAAA fd00:1::1"),
		},

		{name: "apex SOA", qname: "global.", qtype: dns.TypeSOA, want: soa},
		{
			name: "apex NS", qname: "global.", qtype: dns.TypeNS, want: rrs("global. 5 IN NS ns.dns.global."),
			extra: rrs("ns.dns.global. 5 IN A 192.0.2.53", "ns.dns.global. 5 IN AAAA 2001:db8::53"),
		},
		{name: "apex A", qname: "global.", qtype: dns.TypeA},
		{name: "name server", qname: "ns.dns.global.", qtype: dns.TypeAAAA, want: rrs("ns.dns.global. 5 IN AAAA 2001:db8::53")},
		{name: "name server, another type", qname: "ns.dns.global.", qtype: dns.TypeTXT},
		{name: "above the name server", qname: "dns.global.", qtype: dns.TypeA},
		{name: "version", qname: "dns-version.global.", qtype: dns.TypeTXT, want: rrs(`dns-version.global. 5 IN TXT "1.1.0"`)},
		{name: "version as A", qname: "dns-version.global.", qtype: dns.TypeA},
		{name: "ANY", qname: "user-service.production.global.", qtype: dns.TypeANY, want: rrs(`user-service.production.global. 5 IN HINFO "RFC8482" ""`)},
		{name: "ANY of an empty non-terminal", qname: "production.global.", qtype: dns.TypeANY},
		{name: "ANY of an unknown name", qname: "x.y.global.", qtype: dns.TypeANY, rcode: dns.RcodeNameError},

		{name: "alias", qname: "users.global.", qtype: dns.TypeA, want: rrs("users.global. 5 IN A 10.1.0.1")},
		{name: "deep alias", qname: "api.v1.users-api.global.", qtype: dns.TypeA, want: rrs("api.v1.users-api.global. 5 IN A 10.1.0.1")},
		{name: "above a deep alias", qname: "v1.users-api.global.", qtype: dns.TypeA},
		{name: "two above a deep alias", qname: "Users-API.global.", qtype: dns.TypeA},
		{name: "beside a deep alias", qname: "v2.users-api.global.", qtype: dns.TypeA, rcode: dns.RcodeNameError},
		{name: "below an alias", qname: "x.users.global.", qtype: dns.TypeA, rcode: dns.RcodeNameError},
		{name: "port of an alias", qname: "_http._tcp.users.global.", qtype: dns.TypeA},
		{name: "unknown port of an alias", qname: "_x._tcp.users.global.", qtype: dns.TypeSRV, rcode: dns.RcodeNameError},
		{
			name: "case is kept", qname: "uSer-Service.PRODUCTION.gLobal.", qtype: dns.TypeA,
			want: rrs("uSer-Service.PRODUCTION.gLobal. 5 IN A 10.1.0.1"),
		},
	}
	p := newPlugin(newLink(demoTable(t)))
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			want := test.Case{Qname: tc.qname, Rcode: tc.rcode, Answer: tc.want, Extra: tc.extra}
			if len(tc.want) == 0 {
				want.Ns = soa
			}
			req := question(tc.qname, tc.qtype)
			got, rcode := ask(t, p, req)
			require.NotNil(t, got)
			require.Equal(t, tc.rcode, rcode)
			require.True(t, got.Authoritative)
			require.Equal(t, req.Question, got.Question)
			require.Equal(t, req.Id, got.Id)
			_, err := got.Pack()
			require.NoError(t, err)
			require.NoError(t, test.SortAndCheck(got, want))
		})
	}
}

func TestSeveralZones(t *testing.T) {
	p := newPlugin(newLink(demoTable(t)))
	p.zones = zones{newZone("example."), newZone("global."), newZone("shop.example.")}

	got, _ := ask(t, p, question("payment-service.production.example.", dns.TypeSRV))
	require.Len(t, got.Answer, 2)
	for _, rr := range got.Answer {
		require.Contains(t, rr.(*dns.SRV).Target, ".payment-service.production.example.")
	}
	got, _ = ask(t, p, question("www.shop.example.", dns.TypeA))
	require.Equal(t, "10.1.0.1", got.Answer[0].(*dns.A).A.String())
	got, _ = ask(t, p, question("x.shop.example.", dns.TypeA))
	require.Equal(t, "shop.example.", got.Ns[0].Header().Name)
}

// Names that the specification gives to the zone are nobody's to claim.
func TestAliasOfZonesOwnNames(t *testing.T) {
	table := demoTable(t)
	s := service("a", "a", 1, 1, "10.1.0.66")
	s.Aliases = []string{"global", "ns.dns.global", "dns-version.global"}
	apply(t, table, cluster("west", westLocality), 9, s)
	p := newPlugin(newLink(table))
	for _, name := range []string{"global.", "ns.dns.global.", "dns-version.global."} {
		m, _ := ask(t, p, question(name, dns.TypeA))
		for _, rr := range m.Answer {
			require.NotEqual(t, "10.1.0.66", rr.(*dns.A).A.String(), name)
		}
	}
	m, _ := ask(t, p, question("dns-version.global.", dns.TypeTXT))
	require.Len(t, m.Answer, 1)
}

func TestRefusals(t *testing.T) {
	p := newPlugin(newLink(demoTable(t)))
	chaos := question("user-service.production.global.", dns.TypeA)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	two := question("user-service.production.global.", dns.TypeA)
	two.Question = append(two.Question, two.Question[0])
	twoOPT := question("user-service.production.global.", dns.TypeA)
	twoOPT.SetEdns0(1232, false).SetEdns0(1232, false)
	notify, update := new(dns.Msg).SetNotify("global."), new(dns.Msg).SetUpdate("global.")
	tests := []struct {
		name string
		req  *dns.Msg
		want int
	}{
		{"notify", notify, dns.RcodeNotImplemented},
		{"update", update, dns.RcodeNotImplemented},
		{"another class", chaos, dns.RcodeRefused},
		{"transfer", question("global.", dns.TypeAXFR), dns.RcodeRefused},
		{"incremental transfer", question("global.", dns.TypeIXFR), dns.RcodeRefused},
		{"two questions", two, dns.RcodeFormatError},
		{"no question", new(dns.Msg), dns.RcodeFormatError},
		{"two OPT records", twoOPT, dns.RcodeFormatError},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, rcode := ask(t, p, tc.req)
			require.Nil(t, got)
			require.Equal(t, tc.want, rcode)
			require.False(t, plugin.ClientWrite(rcode))
		})
	}
}

func TestNotLoaded(t *testing.T) {
	l := newLink(discovery.NewTable())
	p := newPlugin(l)
	p.fall = fall.Root
	p.Next = test.ErrorHandler()
	require.False(t, p.Ready())
	got, rcode := ask(t, p, question("x.y.global.", dns.TypeA))
	require.Nil(t, got)
	require.Equal(t, dns.RcodeServerFailure, rcode)

	l.table.SetLoaded()
	require.True(t, p.Ready())
	p.fall = fall.F{}
	got, _ = ask(t, p, question("x.y.global.", dns.TypeA))
	require.Equal(t, dns.RcodeNameError, got.Rcode)

	l.view.Store(nil)
	require.False(t, p.Ready())
	_, rcode = ask(t, p, question("x.y.global.", dns.TypeA))
	require.Equal(t, dns.RcodeServerFailure, rcode)
}

func TestFallthrough(t *testing.T) {
	const marker = dns.RcodeBadAlg // something that only the next plugin returns
	p := newPlugin(newLink(demoTable(t)))
	p.Next = test.NextHandler(marker, nil)
	p.zones = zones{newZone("global."), newZone("example.")}
	p.fall.SetZonesFromArgs([]string{"global"})
	tests := []struct {
		name  string
		qname string
		want  int
	}{
		{"not in a zone", "user-service.production.other.", marker},
		{"the parent", ".", marker},
		{"unknown name", "x.y.global.", marker},
		{"unknown name elsewhere", "x.y.example.", dns.RcodeNameError},
		{"known name without the type", "user-service.production.global.", dns.RcodeSuccess},
		{"a zone's name as the end of a label", "a.b.xglobal.", marker},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, rcode := ask(t, p, question(tc.qname, dns.TypeMX))
			require.Equal(t, tc.want, rcode)
		})
	}
}

// Zones of all kinds fall through, or don't, by their names; what exists only
// because of a name below it never does.
func TestFallthroughKinds(t *testing.T) {
	const marker = dns.RcodeBadAlg
	p := manyZones(t, kindsTable(t))
	p.Next = test.NextHandler(marker, nil)
	p.fall.SetZonesFromArgs([]string{"svc.clusterset.local", "10.0.0.0/8", "2001:db8::/32"})
	tests := []struct {
		name  string
		qname string
		want  int
	}{
		{"unknown service", "x.y.svc.clusterset.local.", marker},
		{"beside the zone of fallthrough", "x.clusterset.local.", dns.RcodeNameError},
		{"another MCS zone", "x.y.svc.set.example.", dns.RcodeNameError},
		{"headless without a ready endpoint", "idle.data.svc.clusterset.local.", marker},
		{"namespace", "data.svc.clusterset.local.", dns.RcodeSuccess},
		{"unknown address", "77.0.0.10.in-addr.arpa.", marker},
		{"inner name", "0.7.10.in-addr.arpa.", dns.RcodeSuccess},
		{"known address", "1.0.7.10.in-addr.arpa.", dns.RcodeSuccess},
		{"the zone itself", "10.in-addr.arpa.", dns.RcodeSuccess},
		{"another reverse zone", "77.2.0.192.in-addr.arpa.", dns.RcodeNameError},
		{"IPv6", "1.1.8.b.d.0.1.0.0.2.ip6.arpa.", marker},
		{"plain zone", "x.y.global.", dns.RcodeNameError},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, rcode := ask(t, p, question(tc.qname, dns.TypePTR))
			require.Equal(t, tc.want, rcode)
		})
	}
}

func TestStale(t *testing.T) {
	l := newLink(demoTable(t))
	p := newPlugin(l)
	ede := func(qname string, qtype uint16, edns bool) (int, bool) {
		req := question(qname, qtype)
		if edns {
			req.SetEdns0(1232, false)
		}
		got, _ := ask(t, p, req)
		opt := got.IsEdns0()
		if opt == nil {
			return 0, false
		}
		require.Len(t, opt.Option, 1)
		return int(opt.Option[0].(*dns.EDNS0_EDE).InfoCode), true
	}
	const known = "user-service.production.global."
	_, has := ede(known, dns.TypeA, true)
	require.False(t, has, "fresh")
	l.stale.Store(true)
	_, has = ede(known, dns.TypeA, false)
	require.False(t, has, "a client without EDNS")
	for _, tc := range []struct {
		qname string
		qtype uint16
		want  int
	}{
		{known, dns.TypeA, 3}, {known, dns.TypeSRV, 3}, {known, dns.TypeMX, 3}, {"x.y.global.", dns.TypeA, 19},
	} {
		code, has := ede(tc.qname, tc.qtype, true)
		require.True(t, has)
		require.Equal(t, tc.want, code, tc.qname)
	}
}

// A reply belongs to whoever wrote it: what other plugins do to it must not
// show in the next one.
func TestReplyIsOwn(t *testing.T) {
	p := newPlugin(newLink(demoTable(t)))
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeMX} {
		first, _ := ask(t, p, question("user-service.production.global.", qtype))
		want := first.Copy()
		for _, section := range [][]dns.RR{first.Answer, first.Ns, first.Extra} {
			for i, rr := range section {
				rr.Header().Name, rr.Header().Ttl = "changed.", 0
				section[i] = nil
			}
		}
		second, _ := ask(t, p, question("user-service.production.global.", qtype))
		for i, s := range [][]dns.RR{want.Answer, want.Ns, want.Extra} {
			got := [][]dns.RR{second.Answer, second.Ns, second.Extra}[i]
			var a, b []string
			for j := range s {
				a, b = append(a, s[j].String()), append(b, got[j].String())
			}
			require.ElementsMatch(t, a, b)
		}
	}
}

type brokenWriter struct{ test.ResponseWriter }

func (*brokenWriter) WriteMsg(*dns.Msg) error { return errors.New("connection closed") }

func TestClientGone(t *testing.T) {
	p := newPlugin(newLink(demoTable(t)))
	rcode, err := p.ServeDNS(context.Background(), &brokenWriter{}, question("global.", dns.TypeSOA))
	require.NoError(t, err)
	require.Equal(t, dns.RcodeSuccess, rcode)
}

// Truncation is CoreDNS's, around every plugin; our replies must stand it.
func TestTruncation(t *testing.T) {
	table := demoTable(t)
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf("192.0.2.%d", i+1))
	}
	apply(t, table, cluster("east", eastLocality, gateway(15443, many...)), 9, service("big", "big", 1, 1))
	p := newPlugin(newLink(table))
	for _, size := range []uint16{0, 512, 1232, 4096} {
		w := dnstest.NewRecorder(&test.ResponseWriter{})
		req := question("big.big.global.", dns.TypeA)
		if size > 0 {
			req.SetEdns0(size, true)
		}
		_, err := p.ServeDNS(context.Background(), scrub(req, w), req)
		require.NoError(t, err)
		packed, err := w.Msg.Pack()
		require.NoError(t, err)
		require.LessOrEqual(t, len(packed), max(512, int(size)))
		require.Equal(t, size < 1232, w.Msg.Truncated, "size %d", size)
	}
}

// A port without a name makes no name below the service's: nothing is there
// that _tcp could be an empty non-terminal of.
func TestPortWithoutName(t *testing.T) {
	table := demoTable(t)
	s := service("production", "single", 1, 1)
	s.Ports[0].Name = ""
	apply(t, table, cluster("far", eastLocality, gateway(443, "192.0.2.1")), 1, s)
	p := newPlugin(newLink(table))
	for name, want := range map[string]int{
		"single.production.global.":          dns.RcodeSuccess,
		"_tcp.single.production.global.":     dns.RcodeNameError,
		"_tcp.far.single.production.global.": dns.RcodeNameError,
	} {
		got, _ := ask(t, p, question(name, dns.TypeSRV))
		require.Equal(t, want, got.Rcode, name)
	}
}
