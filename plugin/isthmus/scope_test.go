package isthmus

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

func endpoint(addr, zone string) discovery.Endpoint {
	return discovery.Endpoint{Addr: netip.MustParseAddr(addr), Zone: zone, Ready: true}
}

// zonesTable has services in several zones of: west, the own cluster (zone
// us-west1-a); flat, on its network (Corp.Example.com); east behind a gateway
// (us-east1-b, with endpoints in us-east1-c); lost, which knows no locality.
func zonesTable(t testing.TB) *discovery.Table {
	table := demoTable(t)
	counts := func(s *discovery.Service, list ...discovery.ZoneCount) *discovery.Service {
		s.Counts = list
		return s
	}
	headless := func(name string, endpoints ...discovery.Endpoint) *discovery.Service {
		s := service("z", name, uint32(len(endpoints)), uint32(len(endpoints)))
		s.Kind, s.Endpoints, s.Counts = discovery.KindHeadless, endpoints, nil
		for _, e := range endpoints {
			s.Counts = append(s.Counts, discovery.ZoneCount{Zone: e.Zone, Ready: 1, Total: 1})
		}
		return s
	}
	db := headless("db", endpoint("10.1.9.1", "us-west1-a"), endpoint("10.1.9.2", "us-west1-b"), endpoint("10.1.9.3", ""),
		discovery.Endpoint{Addr: netip.MustParseAddr("10.1.9.4"), Zone: "us-west1-c"})
	db.Aliases = []string{"db.shop.global"}
	web := counts(service("z", "web", 0, 0, "10.1.0.8"),
		discovery.ZoneCount{Zone: "us-west1-b", Ready: 1, Total: 1}, discovery.ZoneCount{Zone: "us-west1-d", Total: 1})
	apply(t, table, cluster("west", westLocality), 9, db, web, service("z", "down", 0, 1, "10.1.0.9"))

	flat := cluster("flat", discovery.Locality{Region: "Corp", Zone: "Corp.Example.com"}, gateway(15443, "192.0.2.5"))
	flat.Network = "net"
	apply(t, table, flat, 1, headless("db", endpoint("10.5.9.1", ""), endpoint("10.5.9.2", "us-west1-b")),
		headless("pods", endpoint("10.5.9.3", "a")), service("z", "bare", 1, 1))

	apply(t, table, cluster("east", eastLocality, gateway(15443, "192.0.2.3")), 9,
		headless("db", endpoint("10.3.9.1", "us-east1-b"), endpoint("10.3.9.2", "us-east1-c")),
		counts(service("z", "web", 0, 0), discovery.ZoneCount{Zone: "us-east1-c", Ready: 3, Total: 3}), headless("pods", endpoint("10.3.9.3", "a")))
	apply(t, table, cluster("lost", discovery.Locality{}, gateway(15443, "192.0.2.6")), 1, service("z", "web", 1, 1))
	return table
}

func zonesPlugin(t testing.TB) *Isthmus {
	l := newLink(zonesTable(t))
	l.view.Store(&View{Cluster: "west", Network: "net", Locality: westLocality})
	return newPlugin(l)
}

func TestScopedNames(t *testing.T) {
	plainDB := []string{"10.1.9.1", "10.1.9.2", "10.1.9.3"}
	nodata, nxdomain := []string{}, []string(nil)
	tests := []struct {
		qname string
		want  []string
	}{
		// The own cluster's endpoints, those of the zone alone.
		{"us-west1-a.pin._zone.db.z.global.", []string{"10.1.9.1", "10.1.9.3"}}, // no zone is the cluster's
		{"us-west1-b.pin._zone.db.z.global.", []string{"10.1.9.2"}},             // the own tier before flat
		{"US-West1-B.Pin._ZONE.db.z.global.", []string{"10.1.9.2"}},
		{"us-west1-b.pin._zone.db.shop.global.", []string{"10.1.9.2"}},
		{"us-west1-b.pin._zone.flat.db.z.global.", []string{"10.5.9.2"}},
		{"us-west1-c.pin._zone.db.z.global.", nodata}, // only one that is not ready
		{"us-west1-c.prefer._zone.db.z.global.", plainDB},
		{"us-west1-b.prefer._zone.db.z.global.", []string{"10.1.9.2"}},
		// Endpoints on a shared network; a zone's value may have dots.
		{"corp.example.com.pin._zone.db.z.global.", []string{"10.5.9.1"}},
		{"corp.example.com.pin._region.db.z.global.", nodata},
		{"corp.pin._region.db.z.global.", []string{"10.5.9.1", "10.5.9.2"}},
		{`corp\.example\.com.pin._zone.db.z.global.`, nodata},
		// A cluster without endpoints of its own in the answer is a choice as a
		// whole: by its own zone, or by the ready endpoints that it counts.
		{"us-east1-b.pin._zone.db.z.global.", []string{"192.0.2.3"}},
		{"us-east1-c.pin._zone.db.z.global.", []string{"192.0.2.3"}},
		{"us-east1-c.pin._zone.web.z.global.", []string{"192.0.2.3"}},
		{"us-west1-a.pin._zone.web.z.global.", []string{"10.1.0.8"}},
		{"us-west1-b.pin._zone.web.z.global.", []string{"10.1.0.8"}},
		{"us-west1-d.pin._zone.web.z.global.", nodata},
		{"corp.example.com.pin._zone.bare.z.global.", []string{"192.0.2.5"}},
		{"us-west1-a.pin._zone.down.z.global.", nodata},
		{"us-east1.pin._region.web.z.global.", []string{"192.0.2.3"}},
		{"us-west1.prefer._region.web.z.global.", []string{"10.1.0.8"}},
		// One cluster.
		{"us-east1-b.pin._zone.west.db.z.global.", nodata},
		{"us-west1-b.pin._zone.west.db.z.global.", []string{"10.1.9.2"}},
		{"us-east1-b.prefer._zone.west.db.z.global.", plainDB},
		{"us-west1-b.prefer._zone.east.db.z.global.", []string{"192.0.2.3"}},
		{"us-west1-b.pin._zone.nobody.db.z.global.", nxdomain},
		// Values that nobody has.
		{"nowhere.pin._zone.db.z.global.", nodata},
		{"nowhere.prefer._zone.db.z.global.", plainDB},
		{"nowhere.prefer._region.db.z.global.", plainDB},
		{"_http._tcp.us-west1-b.pin._zone.db.z.global.", nodata}, // as CoreDNS: all of it is the zone
		{"_http._tcp.us-west1-b.prefer._zone.db.z.global.", plainDB},
		{"x.pin._zone.y.prefer._zone.db.z.global.", plainDB},
		{"*.pin._zone.db.z.global.", nodata},
		// Inner labels, and what is no such name.
		{"pin._zone.db.z.global.", nodata},
		{"prefer._zone.db.z.global.", nodata},
		{"pin._region.db.z.global.", nodata},
		{"_zone.db.z.global.", nodata},
		{"_region.west.db.z.global.", nodata},
		{"_zone.db.shop.global.", nodata},
		{"pin._region.db.shop.global.", nodata},
		{"a.hint._zone.db.z.global.", nxdomain},
		{"hint._zone.db.z.global.", nxdomain},
		{"a.pin._zone.nobody.z.global.", nxdomain},
		{"_zone.nobody.z.global.", nxdomain},
		{"a.pin._zone.z.global.", nxdomain},
		{"a.pin._zone.west.shop.global.", nxdomain},
		{"a.pin._subzone.db.z.global.", nxdomain},
		{"a.pin._zone.host.west.db.z.global.", nxdomain},
	}
	p := zonesPlugin(t)
	for range 2 { // the first round builds what the second finds
		for _, tc := range tests {
			t.Run(tc.qname, func(t *testing.T) {
				m, rcode := ask(t, p, question(tc.qname, dns.TypeA))
				require.Equal(t, tc.want == nil, rcode == dns.RcodeNameError)
				got := []string{}
				for _, rr := range m.Answer {
					require.Equal(t, tc.qname, rr.Header().Name)
					got = append(got, rr.(*dns.A).A.String())
				}
				require.ElementsMatch(t, tc.want, got)
			})
		}
	}
}

func TestScopedTypes(t *testing.T) {
	p := zonesPlugin(t)
	srv := func(qname string) (records, extra []string) {
		m, _ := ask(t, p, question(qname, dns.TypeSRV))
		return srvLines(m)
	}
	records, extra := srv("us-west1-b.pin._zone.db.z.global.")
	require.ElementsMatch(t, []string{
		// Targets stand for no more than what the name was asked for.
		"0 1 80 us-west1-b.pin._zone.west.db.z.global.", "3 1 80 us-west1-b.pin._zone.flat.db.z.global.",
	}, records)
	require.ElementsMatch(t, []string{
		"us-west1-b.pin._zone.west.db.z.global. 10.1.9.2", "us-west1-b.pin._zone.flat.db.z.global. 10.5.9.2",
	}, extra)
	records, _ = srv("us-east1-c.pin._zone.db.z.global.")
	require.Equal(t, []string{"3 2 15443 east.db.z.global."}, records, "a gateway has no zone")
	records, _ = srv("corp.pin._region.db.z.global.")
	require.Equal(t, []string{"3 2 80 flat.db.z.global."}, records, "a region holds whole clusters")
	records, _ = srv("nowhere.prefer._zone.pods.z.global.")
	require.Len(t, records, 2)
	records, _ = srv("us-west1-b.pin._zone.west.db.z.global.")
	require.Equal(t, []string{"0 1 80 us-west1-b.pin._zone.west.db.z.global."}, records)

	for _, qtype := range []uint16{dns.TypeAAAA, dns.TypeTXT, dns.TypeHTTPS, dns.TypeSVCB, dns.TypeMX, 65399} {
		for _, qname := range []string{"us-west1-b.pin._zone.db.z.global.", "nowhere.pin._zone.db.z.global.", "nowhere.prefer._zone.db.z.global."} {
			m, rcode := ask(t, p, question(qname, qtype))
			require.Equal(t, dns.RcodeSuccess, rcode)
			require.Empty(t, m.Answer, "%s %s", qname, dns.TypeToString[qtype])
			require.Len(t, m.Ns, 1)
		}
	}
	m, _ := ask(t, p, question("us-west1-b.pin._zone.db.z.global.", dns.TypeANY))
	require.Len(t, m.Answer, 1)
	m, _ = ask(t, p, question("nowhere.pin._zone.db.z.global.", dns.TypeANY))
	require.Empty(t, m.Answer)
}

// Clusters in a zone are chosen by what they have there, when that is what is
// answered.
func TestScopedBalance(t *testing.T) {
	const queries = 20_000
	table := discovery.NewTable()
	for i, ready := range []uint32{3, 1} {
		c := cluster(fmt.Sprint("c", i), eastLocality)
		c.Network = "net"
		s := service("z", "db", 0, 0)
		s.Kind = discovery.KindHeadless
		s.Endpoints = []discovery.Endpoint{endpoint(fmt.Sprintf("10.%d.0.1", i), "a"), endpoint(fmt.Sprintf("10.%d.0.2", i), "b")}
		s.Counts = []discovery.ZoneCount{{Zone: "a", Ready: ready, Total: 9}, {Zone: "b", Ready: 90, Total: 90}}
		apply(t, table, c, 1, s)
	}
	table.SetLoaded()
	l := newLink(table)
	l.view.Store(&View{Cluster: "west", Network: "net"})
	p := newPlugin(l)
	first := 0
	for range queries {
		m, _ := ask(t, p, question("a.pin._zone.db.z.global.", dns.TypeA))
		if m.Answer[0].(*dns.A).A.String() == "10.0.0.1" {
			first++
		}
	}
	require.InDelta(t, 0.75, float64(first)/queries, 0.01)
}

func TestScopedFollowsChanges(t *testing.T) {
	p := zonesPlugin(t)
	const qname = "us-west1-b.pin._zone.db.z.global."
	m, _ := ask(t, p, question(qname, dns.TypeA))
	require.Len(t, m.Answer, 1)
	p.view.link.(*fakeLink).view.Store(&View{Cluster: "east"})
	m, _ = ask(t, p, question(qname, dns.TypeA))
	require.Equal(t, "192.0.2.5", m.Answer[0].(*dns.A).A.String(), "flat counts one there; west has no gateway")
}

// What is kept for scopes is bounded, and nothing is for values that no
// candidate has.
func TestScopesAreBounded(t *testing.T) {
	table := demoTable(t)
	s := service("z", "db", 0, 0)
	for i := range discovery.MaxZones {
		s.Counts = append(s.Counts[:i], discovery.ZoneCount{Zone: fmt.Sprint("zone-", i), Ready: 1, Total: 1})
	}
	apply(t, table, cluster("east", eastLocality, gateway(1, "192.0.2.1")), 9, s)
	l := newLink(table)
	p := newPlugin(l)
	pin := func(value string) int {
		m, _ := ask(t, p, question(value+".pin._zone.db.z.global.", dns.TypeA))
		return len(m.Answer)
	}
	a := p.view.answers(table.Lookup("db.z"), l.View())
	for i := range 1000 {
		require.Zero(t, pin(fmt.Sprint("random-", i)))
	}
	require.Nil(t, a.scopes.built.Load())
	for i := range discovery.MaxZones {
		require.Equal(t, 1, pin(fmt.Sprint("zone-", i)))
	}
	require.Len(t, *a.scopes.built.Load(), maxScopes)
	require.Len(t, a.scopes.index.Load().zones, discovery.MaxZones+1)
	require.Same(t, a, p.view.answers(table.Lookup("db.z"), l.View()))

	// A value that nobody has costs no more allocations than a plain NODATA.
	w, ctx := &writer{}, t.Context()
	cost := func(qname string) float64 {
		req := question(qname, dns.TypeA)
		return testing.AllocsPerRun(100, func() { _, _ = p.ServeDNS(ctx, w, req) })
	}
	require.LessOrEqual(t, cost("random.pin._zone.db.z.global."), cost("z.global."))
}

// What is refused or not known yet of a whole service is so of a part.
func TestScopedRefusals(t *testing.T) {
	table := zonesTable(t)
	flat := cluster("flat", eastLocality)
	flat.Network = "net"
	evil := service("z", "evil", 2, 2)
	evil.Kind = discovery.KindHeadless
	evil.Endpoints = []discovery.Endpoint{endpoint("127.0.0.1", "a"), endpoint("10.5.9.9", "a")}
	lb := service("z", "lb", 1, 1)
	lb.Gateways = []discovery.Gateway{{Hostname: "lb.example.net", Kind: discovery.GatewayLoadBalancer}}
	apply(t, table, flat, 2, evil)
	apply(t, table, cluster("east", eastLocality), 10, lb)
	apply(t, table, cluster("lost", discovery.Locality{}, gateway(1, "192.0.2.6")), 2, service("z", "lb", 1, 1))
	// A viewer without a cluster has no gateway on loopback.
	l := newLink(table)
	l.view.Store(&View{Network: "net"})
	p := newPlugin(l)
	m, _ := ask(t, p, question("a.pin._zone.evil.z.global.", dns.TypeA))
	require.Equal(t, []string{"a.pin._zone.evil.z.global. 10.5.9.9"}, addressLines(m.Answer))
	_, rcode := ask(t, p, question("us-east1-b.pin._zone.lb.z.global.", dns.TypeA))
	require.Equal(t, dns.RcodeServerFailure, rcode, "it may be there in a moment")
	m, _ = ask(t, p, question("us-east1-b.prefer._zone.lb.z.global.", dns.TypeA))
	require.Equal(t, []string{"us-east1-b.prefer._zone.lb.z.global. 192.0.2.6"}, addressLines(m.Answer))
}
