package isthmus

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

func TestReverse(t *testing.T) {
	const nx = dns.RcodeNameError
	p := manyZones(t, kindsTable(t))
	check(t, p, []zoneCase{
		{name: "gateway", qname: "10.0.1.127.in-addr.arpa.", qtype: dns.TypePTR, want: rrs("10.0.1.127.in-addr.arpa. 5 IN PTR west.gateway.global.")},
		{
			name: "gateway of two clusters", qname: "7.100.51.198.in-addr.arpa.", qtype: dns.TypePTR,
			want: rrs("7.100.51.198.in-addr.arpa. 5 IN PTR north.gateway.global.", "7.100.51.198.in-addr.arpa. 5 IN PTR south.gateway.global."),
		},
		{name: "a service's own gateway", qname: "9.100.51.198.In-Addr.Arpa.", qtype: dns.TypePTR, want: rrs("9.100.51.198.In-Addr.Arpa. 5 IN PTR south.gateway.global.")},
		{name: "another type", qname: "9.100.51.198.in-addr.arpa.", qtype: dns.TypeA},
		{name: "ANY", qname: "9.100.51.198.in-addr.arpa.", qtype: dns.TypeANY, want: rrs(`9.100.51.198.in-addr.arpa. 5 IN HINFO "RFC8482" ""`)},
		{name: "a gateway that leads to the metadata service", qname: "254.169.254.169.in-addr.arpa.", qtype: dns.TypePTR, rcode: nx},
		{name: "unknown", qname: "1.100.51.198.in-addr.arpa.", qtype: dns.TypePTR, rcode: nx},
		{name: "inner", qname: "51.198.in-addr.arpa.", qtype: dns.TypePTR},
		{name: "unknown inner", qname: "52.198.in-addr.arpa.", qtype: dns.TypePTR, rcode: nx},
		{name: "below an address", qname: "1.9.100.51.198.in-addr.arpa.", qtype: dns.TypePTR, rcode: nx},
		{name: "another form of an address", qname: "009.100.51.198.in-addr.arpa.", qtype: dns.TypePTR, rcode: nx},
		{name: "no number", qname: "x.100.51.198.in-addr.arpa.", qtype: dns.TypePTR, rcode: nx},
		{name: "256", qname: "256.100.51.198.in-addr.arpa.", qtype: dns.TypePTR, rcode: nx},
		{
			name: "apex NS", qname: "in-addr.arpa.", qtype: dns.TypeNS, want: rrs("in-addr.arpa. 5 IN NS ns.dns.global."),
			extra: rrs("ns.dns.global. 5 IN A 192.0.2.53", "ns.dns.global. 5 IN AAAA 2001:db8::53"),
		},
		{name: "apex SOA", qname: "in-addr.arpa.", qtype: dns.TypeSOA, want: rrs("in-addr.arpa. 5 IN SOA ns.dns.global. hostmaster.global. 1 7200 1800 86400 5")},
		{name: "apex PTR", qname: "in-addr.arpa.", qtype: dns.TypePTR},
		{name: "no name server here", qname: "ns.dns.in-addr.arpa.", qtype: dns.TypeA, rcode: nx},
	}, "in-addr.arpa.")
	check(t, p, []zoneCase{
		{name: "ClusterIP, though a cluster claims it as an endpoint", qname: "1.0.1.10.in-addr.arpa.", qtype: dns.TypePTR, want: rrs("1.0.1.10.in-addr.arpa. 5 IN PTR user-service.production.global.")},
		{name: "ClusterIP of another cluster", qname: "1.0.2.10.in-addr.arpa.", qtype: dns.TypePTR, rcode: nx},
		{name: "own endpoint", qname: "1.9.1.10.in-addr.arpa.", qtype: dns.TypePTR, want: rrs("1.9.1.10.in-addr.arpa. 5 IN PTR orders-0.west.orders.production.global.")},
		{name: "own endpoint that is not ready", qname: "3.9.1.10.in-addr.arpa.", qtype: dns.TypePTR, rcode: nx},
		{name: "endpoint on the network", qname: "1.0.7.10.in-addr.arpa.", qtype: dns.TypePTR, want: rrs("1.0.7.10.in-addr.arpa. 5 IN PTR peer-0.north.peers.data.global.")},
		{name: "endpoint without a host name", qname: "3.0.7.10.in-addr.arpa.", qtype: dns.TypePTR, rcode: nx},
		{name: "the longest zone's apex", qname: "10.in-addr.arpa.", qtype: dns.TypeA},
	}, "10.in-addr.arpa.")
	v6 := func(a string) string {
		name, err := dns.ReverseAddr(a)
		require.NoError(t, err)
		return name
	}
	check(t, p, []zoneCase{
		{name: "gateway", qname: v6("2001:db8::7"), qtype: dns.TypePTR, want: rrs(v6("2001:db8::7") + " 5 IN PTR north.gateway.global.")},
		{name: "inner", qname: v6("2001:db8::7")[2:], qtype: dns.TypePTR},
		{name: "unknown", qname: v6("2001:db8::8"), qtype: dns.TypePTR, rcode: nx},
		{name: "unknown inner", qname: "1.8.b.d.0.1.0.0.2.ip6.arpa.", qtype: dns.TypePTR, rcode: nx},
		{name: "two digits", qname: "00.8.b.d.0.1.0.0.2.ip6.arpa.", qtype: dns.TypePTR, rcode: nx},
		{name: "below an address", qname: "0." + v6("2001:db8::7"), qtype: dns.TypePTR, rcode: nx},
	}, "8.b.d.0.1.0.0.2.ip6.arpa.")
	check(t, p, []zoneCase{
		{name: "ClusterIP", qname: v6("fd00:1::1"), qtype: dns.TypePTR, want: rrs(v6("fd00:1::1") + " 5 IN PTR user-service.production.global.")},
	}, "1.0.0.0.0.0.d.f.ip6.arpa.")
	check(t, p, []zoneCase{
		{name: "forward", qname: "south.gateway.global.", qtype: dns.TypeA, want: rrs("south.gateway.global. 5 IN A 198.51.100.7",
			"south.gateway.global. 5 IN A 198.51.100.8", "south.gateway.global. 5 IN A 198.51.100.9")},
		{name: "forward IPv6", qname: "north.gateway.global.", qtype: dns.TypeAAAA, want: rrs("north.gateway.global. 5 IN AAAA 2001:db8::7")},
		{name: "forward without IPv6", qname: "south.gateway.global.", qtype: dns.TypeAAAA},
		{name: "forward, another type", qname: "south.gateway.global.", qtype: dns.TypeTXT},
		{name: "forward ANY", qname: "south.gateway.global.", qtype: dns.TypeANY, want: rrs(`south.gateway.global. 5 IN HINFO "RFC8482" ""`)},
		{name: "no such cluster", qname: "nowhere.gateway.global.", qtype: dns.TypeA, rcode: nx},
		{name: "above", qname: "gateway.global.", qtype: dns.TypeA},
		{name: "below", qname: "x.south.gateway.global.", qtype: dns.TypeA, rcode: nx},
		{name: "port below", qname: "_http._tcp.south.gateway.global.", qtype: dns.TypeSRV, rcode: nx},
	}, "global.")
}

// A service's name wins over a cluster's gateways, an alias doesn't.
func TestClusterGateways(t *testing.T) {
	table := kindsTable(t)
	s := service("gateway", "south", 1, 1, "10.1.0.88")
	s.Aliases = []string{"north.gateway.global"}
	apply(t, table, cluster("west", westLocality), 9, s)
	p := manyZones(t, table)
	got, _ := ask(t, p, question("south.gateway.global.", dns.TypeA))
	require.Equal(t, "10.1.0.88", got.Answer[0].(*dns.A).A.String())
	got, _ = ask(t, p, question("north.gateway.global.", dns.TypeA))
	require.Equal(t, "198.51.100.7", got.Answer[0].(*dns.A).A.String())

	p.zones = zones{newZone("global.")}
	p.view.reverse.want(-1) // without reverse zones there are no such names
	p.view.reverse.sweep(&reverseSweep{})
	got, _ = ask(t, p, question("north.gateway.global.", dns.TypeA))
	require.Equal(t, "10.1.0.88", got.Answer[0].(*dns.A).A.String())
	_, rcode := ask(t, p, question("x.gateway.global.", dns.TypeA))
	require.Equal(t, dns.RcodeNameError, rcode)
}

// The address of a gateway that all clusters share has a bounded number of
// records, the own cluster's among them.
func TestReverseBounds(t *testing.T) {
	table := discovery.NewTable()
	for i := range 40 {
		apply(t, table, cluster(fmt.Sprintf("c%02d", i), eastLocality, gateway(1, "192.0.2.1")), 1)
	}
	apply(t, table, cluster("west", westLocality, gateway(1, "192.0.2.1")), 1)
	var many []string
	for i := range discovery.MaxAddresses {
		many = append(many, fmt.Sprintf("198.51.100.%d", i+1))
	}
	var gateways []discovery.Gateway
	for i := range discovery.MaxGateways {
		g := gateway(1, many...)
		for j := range g.Addresses {
			octets := g.Addresses[j].As4()
			octets[1] = byte(i)
			g.Addresses[j] = netip.AddrFrom4(octets)
		}
		gateways = append(gateways, g)
	}
	apply(t, table, cluster("hostile", eastLocality, gateways...), 1)
	table.SetLoaded()
	p := manyZones(t, table)
	got, _ := ask(t, p, question("1.2.0.192.in-addr.arpa.", dns.TypePTR))
	require.Len(t, got.Answer, maxPTR)
	require.Equal(t, "west.gateway.global.", got.Answer[0].(*dns.PTR).Ptr)

	x, cut := buildReverse(table, p.view.link.View(), p.view.names.knownAddrs)
	require.True(t, cut)
	require.Len(t, x.clusters["hostile"].v4, maxAddresses)
	require.Len(t, x.gateways, maxPTR+maxAddresses)
}

// The addresses of a host name have a record when they are resolved.
func TestReverseHostname(t *testing.T) {
	table := demoTable(t)
	apply(t, table, cluster("east", eastLocality, discovery.Gateway{Hostname: "lb.example", Kind: discovery.GatewayLoadBalancer}), 9)
	p := manyZones(t, table)
	ptr := question("5.2.0.192.in-addr.arpa.", dns.TypePTR)
	_, rcode := ask(t, p, ptr)
	require.Equal(t, dns.RcodeNameError, rcode)
	serial := p.view.currentSerial()
	_, _ = p.view.names.Addrs("east", "lb.example")
	p.view.names.store("lb.example", found{addrs: addrs("192.0.2.5", "169.254.169.254")}, found{err: errNoAddress})
	require.NotEqual(t, serial, p.view.currentSerial())
	p.view.reverse.current.Store(nil)
	p.view.reverse.sweep(&reverseSweep{})
	got, _ := ask(t, p, ptr)
	require.Equal(t, "east.gateway.global.", got.Answer[0].(*dns.PTR).Ptr)
	got, _ = ask(t, p, question("east.gateway.global.", dns.TypeA))
	require.Len(t, got.Answer, 1, "not the metadata service")
}

// A stanza with a reverse zone isn't ready, and knows nothing, before the index
// is there. A change is seen by the next sweep that walkServices allows.
func TestReverseSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := demoTable(t)
		p := manyZones(t, table)
		r := p.view.reverse
		s := &reverseSweep{}
		ptr := func(want int, what string) {
			t.Helper()
			_, rcode := ask(t, p, question("44.0.1.10.in-addr.arpa.", dns.TypePTR))
			require.Equal(t, want, rcode, what)
		}
		r.current.Store(nil)
		require.False(t, p.Ready())
		ptr(dns.RcodeServerFailure, "before the first sweep")
		r.prime()
		require.True(t, p.Ready())
		primed := r.index()
		r.prime()
		require.Same(t, primed, r.index(), "the first one only")
		r.sweep(s)
		require.True(t, p.Ready())
		ptr(dns.RcodeNameError, "no such service")

		serial := p.view.currentSerial()
		apply(t, table, cluster("west", westLocality), 9, service("a", "new", 1, 1, "10.1.0.44"))
		time.Sleep(walkServices - time.Millisecond)
		r.sweep(s)
		ptr(dns.RcodeNameError, "not too often")
		time.Sleep(time.Millisecond)
		r.sweep(s)
		ptr(dns.RcodeSuccess, "after a change")
		require.NotEqual(t, serial, p.view.currentSerial())

		before := r.index()
		time.Sleep(walkServices)
		r.sweep(s)
		require.Same(t, before, r.index(), "nothing has changed")
		p.view.link.(*fakeLink).view.Store(&View{Cluster: "east"})
		r.sweep(s)
		ptr(dns.RcodeNameError, "another viewer")
		r.want(-1)
		r.sweep(s)
		require.Nil(t, r.index())
	})
}

// The index is the link's: it is there while a stanza has a reverse zone, and
// the same one over a reload.
func TestReverseOverReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replaceOpen(t)
		r := newRegistry(linger)
		shared, err := r.prepare(linkConfig{watchers: "a:1"})
		require.NoError(t, err)
		v := r.viewpoint(shared, discovery.Locality{})
		plain, err := r.acquire(shared)
		require.NoError(t, err)
		synctest.Wait()
		require.Nil(t, v.reverse.index())

		first, err := r.acquire(shared)
		require.NoError(t, err)
		r.wantReverse(first)
		r.wantReverse(first)
		synctest.Wait()
		x := v.reverse.index()
		require.NotNil(t, x)
		second, err := r.acquire(shared)
		require.NoError(t, err)
		r.wantReverse(second)
		r.release(first)
		r.release(first)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Same(t, x, v.reverse.index())

		r.release(second)
		synctest.Wait()
		require.Nil(t, v.reverse.index())
		r.release(plain)
		require.NoError(t, r.closeIdle(t.Context()))
	})
}

// ownTable has services of the viewer's cluster only.
func ownTable(tb testing.TB, n int) *discovery.Table {
	table := discovery.NewTable()
	apply(tb, table, cluster("west", westLocality, gateway(1, "192.0.2.1")), 1, ownServices(n)...)
	table.SetLoaded()
	return table
}

func ownServices(n int) []*discovery.Service {
	services := make([]*discovery.Service, n)
	for i := range services {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		services[i] = service(fmt.Sprint("ns", i%100), fmt.Sprint("svc-", i), 1, 1, addr.String())
	}
	return services
}

// The names of 100,000 ClusterIPs cost 40 octets each.
func TestReverseMemory(t *testing.T) {
	const n = 100_000
	table := ownTable(t, n)
	x, cut := buildReverse(table, &View{Cluster: "west"}, newResolver(table, nil, newLogger()).knownAddrs)
	require.False(t, cut)
	require.Len(t, x.services, n)
	require.EqualValues(t, 40, unsafe.Sizeof(x.services[0]))
	require.Less(t, cap(x.services), n+n/100)
	require.Equal(t, []string{"svc-77.ns77.global."}, x.names(netip.MustParseAddr("10.0.0.77"), "global."))
}

func BenchmarkBuildReverse(b *testing.B) {
	table := ownTable(b, 100_000)
	names := newResolver(table, nil, newLogger())
	b.ReportAllocs()
	for b.Loop() {
		buildReverse(table, &View{Cluster: "west"}, names.knownAddrs)
	}
}

// Each address is read from its own name, and each prefix of the name is a
// network with it.
func FuzzParseReverse(f *testing.F) {
	f.Add("1.0.0.10.in-addr.arpa.")
	f.Add("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.")
	f.Add("..in-addr.arpa.")
	f.Add(".ip6.arpa.")
	f.Fuzz(func(t *testing.T, s string) {
		p := parseReverse(s)
		if p.IsValid() && p.IsSingleIP() && s == strings.ToLower(s) && !p.Addr().Is4In6() { // ReverseAddr makes IPv4 of the last
			name, err := dns.ReverseAddr(p.Addr().String())
			require.NoError(t, err)
			require.Equal(t, name, s)
		}
	})
}

func TestParseReverse(t *testing.T) {
	tests := []struct{ in, want string }{
		{"in-addr.arpa.", "0.0.0.0/0"},
		{"ip6.arpa.", "::/0"},
		{"10.in-addr.arpa.", "10.0.0.0/8"},
		{"4.3.2.1.in-addr.arpa.", "1.2.3.4/32"},
		{"8.b.d.0.1.0.0.2.ip6.arpa.", "2001:db8::/32"},
		{"b.d.0.1.0.0.2.ip6.arpa.", "2001:db0::/28"},
		{"5.4.3.2.1.in-addr.arpa.", ""},
		{"0/26.2.0.192.in-addr.arpa.", ""},
		{"+1.3.2.1.in-addr.arpa.", ""},
		{"xin-addr.arpa.", ""},
		{"1in-addr.arpa.", ""},
		{"1..in-addr.arpa.", ""},
		{"g.ip6.arpa.", ""},
		{"global.", ""},
	}
	for _, tc := range tests {
		t.Run(tc.in, func(t *testing.T) {
			got := parseReverse(tc.in)
			require.Equal(t, tc.want != "", got.IsValid())
			if tc.want != "" {
				require.Equal(t, netip.MustParsePrefix(tc.want), got)
			}
		})
	}
}
