package isthmus

import (
	"net/netip"
	"testing"

	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
)

// kindsTable is the demo's, and what MCS and reverse zones make a difference
// of.
func kindsTable(t testing.TB) *discovery.Table {
	table := demoTable(t)
	peers := func(ready bool, list ...string) *discovery.Service {
		s := service("data", "peers", uint32(len(list)), uint32(len(list)))
		s.Kind = discovery.KindHeadless
		s.Ports = append(s.Ports, discovery.Port{Protocol: discovery.UDP, Port: 99})
		for i, a := range list {
			s.Endpoints = append(s.Endpoints, discovery.Endpoint{Addr: netip.MustParseAddr(a), Hostname: []string{"peer-0", "peer-1", ""}[i], Ready: ready})
		}
		if !ready {
			s.Counts[0].Ready = 0
		}
		return s
	}
	same := func(port uint16) *discovery.Service {
		s := service("data", "same", 1, 1)
		s.Ports[0].Gateway = port
		return s
	}
	idle := peers(false, "10.7.0.9")
	idle.Name = "idle"
	north := cluster("north", centralLocality, gateway(9000, "198.51.100.7", "2001:db8::7"))
	north.Network = "flat"
	apply(t, table, north, 1, peers(true, "10.7.0.1", "fd00:7::2", "10.7.0.3"), same(9000), idle)
	south := cluster("south", eastLocality, gateway(9000, "198.51.100.8", "198.51.100.7"), gateway(9000, "169.254.169.254"))
	own := service("data", "own-gateway", 1, 1)
	own.Gateways = []discovery.Gateway{{Addresses: addrs("198.51.100.9"), Kind: discovery.GatewayNodePort, Port: 31000}}
	apply(t, table, south, 1, peers(true, "10.1.0.1"), same(9000), own)
	return table
}

// manyZones is a stanza with zones of all kinds, looked at from west on the
// network that it shares with north.
func manyZones(t testing.TB, table *discovery.Table) *Isthmus {
	l := newLink(table)
	l.view.Store(&View{Cluster: "west", Network: "flat", Locality: westLocality})
	p := newPlugin(l)
	z := p.zones[0]
	p.zones = zones{
		newMCSZone("clusterset.local.", z), newMCSZone("set.example.", z), newZone("example."), z,
		newReverseZone("in-addr.arpa.", z), newReverseZone("10.in-addr.arpa.", z),
		newReverseZone("8.b.d.0.1.0.0.2.ip6.arpa.", z), newReverseZone("1.0.0.0.0.0.d.f.ip6.arpa.", z),
	}
	p.view.reverse = newReverser(l, p.view.names, newLogger())
	p.view.reverse.want(+1)
	p.view.reverse.sweep(&reverseSweep{})
	return p
}

// zoneCase is a query and its whole answer.
type zoneCase struct {
	name  string
	qname string
	qtype uint16
	rcode int
	want  []dns.RR
	extra []dns.RR
}

func check(t *testing.T, p *Isthmus, tests []zoneCase, origin string) {
	t.Helper()
	server := p.zones.match(origin).server
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			want := test.Case{Qname: tc.qname, Rcode: tc.rcode, Answer: tc.want, Extra: tc.extra}
			if len(tc.want) == 0 {
				want.Ns = rrs(origin + " 5 IN SOA " + server + " hostmaster.global. 1 7200 1800 86400 5")
				want.Ns[0].(*dns.SOA).Mbox = p.zones.match(origin).mailbox
			}
			got, rcode := ask(t, p, question(tc.qname, tc.qtype))
			require.NotNil(t, got)
			require.Equal(t, tc.rcode, rcode)
			require.True(t, got.Authoritative)
			_, err := got.Pack()
			require.NoError(t, err)
			require.NoError(t, test.SortAndCheck(got, want), got.String())
		})
	}
}

func TestMCS(t *testing.T) {
	const nx = dns.RcodeNameError
	p := manyZones(t, kindsTable(t))
	check(t, p, []zoneCase{
		{
			name: "own ClusterIP", qname: "user-service.production.svc.clusterset.local.", qtype: dns.TypeA,
			want: rrs("user-service.production.svc.clusterset.local. 5 IN A 10.1.0.1"),
		},
		{
			name: "own IPv6, case kept", qname: "User-Service.production.SVC.clusterset.local.", qtype: dns.TypeAAAA,
			want: rrs("User-Service.production.SVC.clusterset.local. 5 IN AAAA fd00:1::1"),
		},
		{
			name: "remote", qname: "apollo-configservice.apollo.svc.clusterset.local.", qtype: dns.TypeA,
			want: rrs("apollo-configservice.apollo.svc.clusterset.local. 5 IN A 127.3.0.10"),
		},
		{name: "IPv4 only", qname: "apollo-configservice.apollo.svc.clusterset.local.", qtype: dns.TypeAAAA},
		{name: "no ready endpoint", qname: "down.production.svc.clusterset.local.", qtype: dns.TypeA},
		{name: "SRV of the service's name", qname: "user-service.production.svc.clusterset.local.", qtype: dns.TypeSRV},
		{name: "ANY", qname: "user-service.production.svc.clusterset.local.", qtype: dns.TypeANY, want: rrs(`user-service.production.svc.clusterset.local. 5 IN HINFO "RFC8482" ""`)},
		{name: "unknown service", qname: "nobody.production.svc.clusterset.local.", qtype: dns.TypeA, rcode: nx},
		{name: "without svc", qname: "user-service.production.clusterset.local.", qtype: dns.TypeA, rcode: nx},
		{name: "pod", qname: "user-service.production.pod.clusterset.local.", qtype: dns.TypeA, rcode: nx},
		{name: "svc", qname: "svc.clusterset.local.", qtype: dns.TypeA},
		{name: "namespace", qname: "production.svc.clusterset.local.", qtype: dns.TypeA},
		{name: "unknown namespace", qname: "nowhere.svc.clusterset.local.", qtype: dns.TypeA, rcode: nx},
		{name: "star", qname: "*.production.svc.clusterset.local.", qtype: dns.TypeA, rcode: nx},
		{name: "_why", qname: "_why.user-service.production.svc.clusterset.local.", qtype: dns.TypeTXT, rcode: nx},
		{name: "_clusters", qname: "_clusters.clusterset.local.", qtype: dns.TypeTXT, rcode: nx},
		{name: "one cluster", qname: "east.user-service.production.svc.clusterset.local.", qtype: dns.TypeA, rcode: nx},
		{name: "port of one cluster", qname: "_http._tcp.east.user-service.production.svc.clusterset.local.", qtype: dns.TypeSRV, rcode: nx},
		{name: "host of a ClusterIP service", qname: "x.west.user-service.production.svc.clusterset.local.", qtype: dns.TypeA, rcode: nx},
		{name: "alias of a plain zone", qname: "users.clusterset.local.", qtype: dns.TypeA, rcode: nx},

		{
			name: "apex NS", qname: "clusterset.local.", qtype: dns.TypeNS, want: rrs("clusterset.local. 5 IN NS ns.dns.clusterset.local."),
			extra: rrs("ns.dns.clusterset.local. 5 IN A 192.0.2.53", "ns.dns.clusterset.local. 5 IN AAAA 2001:db8::53"),
		},
		{name: "apex A", qname: "clusterset.local.", qtype: dns.TypeA},
		{name: "version", qname: "dns-version.clusterset.local.", qtype: dns.TypeTXT, want: rrs(`dns-version.clusterset.local. 5 IN TXT "1.0.0"`)},
		{name: "name server", qname: "ns.dns.clusterset.local.", qtype: dns.TypeA, want: rrs("ns.dns.clusterset.local. 5 IN A 192.0.2.53")},
		{name: "above the name server", qname: "dns.clusterset.local.", qtype: dns.TypeA},

		{name: "_tcp", qname: "_tcp.user-service.production.svc.clusterset.local.", qtype: dns.TypeSRV},
		{name: "a URL's port", qname: "_80._https.user-service.production.svc.clusterset.local.", qtype: dns.TypeSRV, rcode: nx},
		{name: "_https", qname: "_https.user-service.production.svc.clusterset.local.", qtype: dns.TypeHTTPS, rcode: nx},
		{name: "_udp that no port has", qname: "_udp.user-service.production.svc.clusterset.local.", qtype: dns.TypeSRV, rcode: nx},
		{name: "_udp of an unnamed port", qname: "_udp.peers.data.svc.clusterset.local.", qtype: dns.TypeSRV, rcode: nx},
		{name: "unknown port", qname: "_x._tcp.user-service.production.svc.clusterset.local.", qtype: dns.TypeSRV, rcode: nx},
		{name: "port as A", qname: "_http._tcp.user-service.production.svc.clusterset.local.", qtype: dns.TypeA},
		{
			name: "port", qname: "_http._tcp.user-service.production.svc.clusterset.local.", qtype: dns.TypeSRV,
			want: rrs("_http._tcp.user-service.production.svc.clusterset.local. 5 IN SRV 0 100 80 user-service.production.svc.clusterset.local."),
			extra: rrs("user-service.production.svc.clusterset.local. 5 IN A 10.1.0.1",
				"user-service.production.svc.clusterset.local. 5 IN AAAA fd00:1::1"),
		},
		{
			name: "port that is another at the gateway", qname: "_http._tcp.apollo-configservice.apollo.svc.clusterset.local.", qtype: dns.TypeSRV,
			want:  rrs("_http._tcp.apollo-configservice.apollo.svc.clusterset.local. 5 IN SRV 0 100 30880 apollo-configservice.apollo.svc.clusterset.local."),
			extra: rrs("apollo-configservice.apollo.svc.clusterset.local. 5 IN A 127.3.0.10"),
		},
		{name: "port of a service that is down", qname: "_http._tcp.down.production.svc.clusterset.local.", qtype: dns.TypeSRV},

		{
			name: "headless, own", qname: "orders.production.svc.clusterset.local.", qtype: dns.TypeA,
			want: rrs("orders.production.svc.clusterset.local. 5 IN A 10.1.9.1", "orders.production.svc.clusterset.local. 5 IN A 10.1.9.2"),
		},
		{
			name: "headless, shared network", qname: "peers.data.svc.clusterset.local.", qtype: dns.TypeA,
			want: rrs("peers.data.svc.clusterset.local. 5 IN A 10.7.0.1", "peers.data.svc.clusterset.local. 5 IN A 10.7.0.3"),
		},
		{
			name: "headless IPv6", qname: "peers.data.svc.clusterset.local.", qtype: dns.TypeAAAA,
			want: rrs("peers.data.svc.clusterset.local. 5 IN AAAA fd00:7::2"),
		},
		{name: "headless, nothing ready", qname: "idle.data.svc.clusterset.local.", qtype: dns.TypeA, rcode: nx},
		{name: "headless, nothing ready, port", qname: "_http._tcp.idle.data.svc.clusterset.local.", qtype: dns.TypeSRV, rcode: nx},
		{name: "above host names", qname: "north.peers.data.svc.clusterset.local.", qtype: dns.TypeA},
		{name: "above no host names", qname: "east.peers.data.svc.clusterset.local.", qtype: dns.TypeA, rcode: nx},
		{
			name: "host", qname: "peer-0.north.peers.data.svc.clusterset.local.", qtype: dns.TypeA,
			want: rrs("peer-0.north.peers.data.svc.clusterset.local. 5 IN A 10.7.0.1"),
		},
		{
			name: "host without a name", qname: "10-7-0-3.north.peers.data.svc.clusterset.local.", qtype: dns.TypeA,
			want: rrs("10-7-0-3.north.peers.data.svc.clusterset.local. 5 IN A 10.7.0.3"),
		},
		{name: "host of the other family", qname: "peer-1.north.peers.data.svc.clusterset.local.", qtype: dns.TypeA},
		{
			name: "host behind a gateway", qname: "peer-0.south.peers.data.svc.clusterset.local.", qtype: dns.TypeA,
			want: rrs("peer-0.south.peers.data.svc.clusterset.local. 5 IN A 198.51.100.7", "peer-0.south.peers.data.svc.clusterset.local. 5 IN A 198.51.100.8"),
		},
		{name: "host that is not ready", qname: "orders-2.west.orders.production.svc.clusterset.local.", qtype: dns.TypeA, rcode: nx},
		{name: "below a host", qname: "x.peer-0.north.peers.data.svc.clusterset.local.", qtype: dns.TypeA, rcode: nx},
		{
			name: "headless port", qname: "_http._tcp.orders.production.svc.clusterset.local.", qtype: dns.TypeSRV,
			want: rrs("_http._tcp.orders.production.svc.clusterset.local. 5 IN SRV 0 100 80 orders-0.west.orders.production.svc.clusterset.local.",
				"_http._tcp.orders.production.svc.clusterset.local. 5 IN SRV 0 100 80 orders-1.west.orders.production.svc.clusterset.local."),
			extra: rrs("orders-0.west.orders.production.svc.clusterset.local. 5 IN A 10.1.9.1",
				"orders-1.west.orders.production.svc.clusterset.local. 5 IN A 10.1.9.2"),
		},
		{
			name: "headless port in several clusters", qname: "_http._tcp.peers.data.svc.clusterset.local.", qtype: dns.TypeSRV,
			want: rrs("_http._tcp.peers.data.svc.clusterset.local. 5 IN SRV 3 100 80 10-7-0-3.north.peers.data.svc.clusterset.local.",
				"_http._tcp.peers.data.svc.clusterset.local. 5 IN SRV 3 100 80 peer-0.north.peers.data.svc.clusterset.local.",
				"_http._tcp.peers.data.svc.clusterset.local. 5 IN SRV 3 100 80 peer-1.north.peers.data.svc.clusterset.local.",
				"_http._tcp.peers.data.svc.clusterset.local. 5 IN SRV 3 100 9000 peer-0.south.peers.data.svc.clusterset.local."),
			extra: rrs("10-7-0-3.north.peers.data.svc.clusterset.local. 5 IN A 10.7.0.3",
				"peer-0.north.peers.data.svc.clusterset.local. 5 IN A 10.7.0.1",
				"peer-0.south.peers.data.svc.clusterset.local. 5 IN A 198.51.100.7", "peer-0.south.peers.data.svc.clusterset.local. 5 IN A 198.51.100.8",
				"peer-1.north.peers.data.svc.clusterset.local. 5 IN AAAA fd00:7::2"),
		},
	}, "clusterset.local.")
	check(t, p, []zoneCase{{
		name: "a second MCS zone", qname: "_http._tcp.user-service.production.svc.set.example.", qtype: dns.TypeSRV,
		want: rrs("_http._tcp.user-service.production.svc.set.example. 5 IN SRV 0 100 80 user-service.production.svc.set.example."),
		extra: rrs("user-service.production.svc.set.example. 5 IN A 10.1.0.1",
			"user-service.production.svc.set.example. 5 IN AAAA fd00:1::1"),
	}}, "set.example.")
}

// The target is the service where all clusters that it may be answered with
// have one port, else the clusters' names in the plain zone.
func TestMCSPorts(t *testing.T) {
	table := demoTable(t)
	s := func(gatewayPort uint16) *discovery.Service {
		s := service("data", "same", 1, 1)
		s.Ports[0].Gateway = gatewayPort
		return s
	}
	apply(t, table, cluster("central", centralLocality, gateway(0, "192.0.2.1")), 9, s(9000))
	apply(t, table, cluster("east", eastLocality, gateway(0, "192.0.2.2")), 9, s(9000))
	p := manyZones(t, table)
	const qname = "_http._tcp.same.data.svc.clusterset.local."
	got, _ := ask(t, p, question(qname, dns.TypeSRV))
	require.Len(t, got.Answer, 1)
	require.Equal(t, qname+"\t5\tIN\tSRV\t0 100 9000 same.data.svc.clusterset.local.", got.Answer[0].String())
	require.Len(t, got.Extra, 1, "of the cluster that A would be answered with")

	different := func() {
		got, _ = ask(t, p, question(qname, dns.TypeSRV))
		want := test.Case{
			Qname:  qname,
			Answer: rrs(qname+" 5 IN SRV 3 1 9000 central.same.data.global.", qname+" 5 IN SRV 3 1 9001 east.same.data.global."),
			Extra:  rrs("central.same.data.global. 5 IN A 192.0.2.1", "east.same.data.global. 5 IN A 192.0.2.2"),
		}
		require.NoError(t, test.SortAndCheck(got, want), got.String())
	}
	apply(t, table, cluster("east", eastLocality, gateway(0, "192.0.2.2")), 10, s(9001))
	different()

	p.zones[0].names = nil // a stanza without a plain zone
	got, rcode := ask(t, p, question(qname, dns.TypeSRV))
	require.Equal(t, dns.RcodeSuccess, rcode)
	require.Empty(t, got.Answer)
	p.zones[0].names = p.zones[3]

	lacking := s(9000)
	lacking.Ports[0].Name = "web"
	apply(t, table, cluster("east", eastLocality, gateway(0, "192.0.2.2")), 11, lacking)
	got, _ = ask(t, p, question(qname, dns.TypeSRV))
	require.Len(t, got.Answer, 1)
	require.Equal(t, "central.same.data.global.", got.Answer[0].(*dns.SRV).Target, "east has no such port")
}

// Where clusters don't agree whether a service is headless, the own cluster's
// word counts, else the oldest export's.
func TestMCSKind(t *testing.T) {
	headless, plain := service("a", "b", 1, 1), service("a", "b", 1, 1, "10.1.0.77")
	headless.Kind = discovery.KindHeadless
	headless.Endpoints = []discovery.Endpoint{{Addr: netip.MustParseAddr("10.9.9.9"), Hostname: "h", Ready: true}}
	headless.ExportedAt, plain.ExportedAt = 1, 2
	const host = "h.east.b.a.svc.clusterset.local."

	table := demoTable(t)
	p := manyZones(t, table)
	apply(t, table, cluster("east", eastLocality, gateway(1, "192.0.2.2")), 9, headless)
	apply(t, table, cluster("central", centralLocality, gateway(1, "192.0.2.1")), 9, plain)
	got, _ := ask(t, p, question(host, dns.TypeA))
	require.Len(t, got.Answer, 1, "the oldest export is headless")

	apply(t, table, cluster("west", westLocality), 9, plain)
	_, rcode := ask(t, p, question(host, dns.TypeA))
	require.Equal(t, dns.RcodeNameError, rcode)
}

// What is known from a gateway's host name only is not denied before that is
// resolved.
func TestMCSUnresolved(t *testing.T) {
	s := service("a", "b", 1, 1)
	s.Kind = discovery.KindHeadless
	s.Endpoints = []discovery.Endpoint{{Addr: netip.MustParseAddr("10.9.9.9"), Hostname: "h", Ready: true}}
	table := demoTable(t)
	apply(t, table, cluster("east", eastLocality, discovery.Gateway{Hostname: "lb.example", Kind: discovery.GatewayLoadBalancer}), 9, s)
	p := manyZones(t, table)
	for _, q := range []struct {
		name  string
		qtype uint16
	}{
		{"h.east.b.a.svc.clusterset.local.", dns.TypeA},
		{"b.a.svc.clusterset.local.", dns.TypeA},
		{"_http._tcp.b.a.svc.clusterset.local.", dns.TypeSRV},
	} {
		got, rcode := ask(t, p, question(q.name, q.qtype))
		require.Nil(t, got)
		require.Equal(t, dns.RcodeServerFailure, rcode, q.name)
	}
}

// An alias can't pass for a service of an MCS zone.
func TestAliasInMCS(t *testing.T) {
	table := demoTable(t)
	s := service("a", "a", 1, 1, "10.1.0.66")
	s.Aliases = []string{"bank.production.svc.clusterset.local", "x.clusterset.local", "1.0.0.10.in-addr.arpa"}
	apply(t, table, cluster("west", westLocality), 9, s)
	p := manyZones(t, table)
	for _, name := range s.Aliases {
		_, rcode := ask(t, p, question(name+".", dns.TypeA))
		require.Equal(t, dns.RcodeNameError, rcode, name)
	}
}

func TestParseMCS(t *testing.T) {
	tests := []struct {
		in   string
		want name
	}{
		{"", name{kind: nameApex}},
		{"dns-version", name{kind: nameVersion}},
		{"dns", name{kind: nameServerParent}},
		{"ns.dns", name{kind: nameServer}},
		{"svc", name{}},
		{".svc", name{}},
		{"ns.svc", name{kind: nameNamespace, namespace: "ns"}},
		{"dns.svc", name{kind: nameNamespace, namespace: "dns"}},
		{"a.ns.svc", name{kind: nameService, key: "a.ns", namespace: "ns"}},
		{"ns.dns.svc", name{kind: nameService, key: "ns.dns", namespace: "dns"}},
		{"_tcp.a.ns.svc", name{kind: nameProto, key: "a.ns", namespace: "ns", proto: "tcp"}},
		{"_http._udp.a.ns.svc", name{kind: namePort, key: "a.ns", namespace: "ns", proto: "udp", port: "http"}},
		{"http._udp.a.ns.svc", name{}},
		{"_._udp.a.ns.svc", name{}},
		{"_a._b._udp.a.ns.svc", name{}},
		{"_icmp.a.ns.svc", name{}},
		{"west.a.ns.svc", name{kind: nameCluster, key: "a.ns", namespace: "ns", cluster: "west"}},
		{"h.west.a.ns.svc", name{kind: nameHost, key: "a.ns", namespace: "ns", cluster: "west", host: "h"}},
		{"i.h.west.a.ns.svc", name{}},
		{"a.ns", name{}},
	}
	for _, tc := range tests {
		t.Run(tc.in, func(t *testing.T) {
			require.Equal(t, tc.want, parseMCS(tc.in))
		})
	}
}

// The hosts of a cluster whose gateway is down are no targets while others are
// left; their own names are answered all the same.
func TestMCSHostsOfAClusterThatIsDown(t *testing.T) {
	table := discovery.NewTable()
	for i, name := range []string{"west", "east"} {
		s := service("n", "db", 1, 1)
		s.Kind = discovery.KindHeadless
		s.Endpoints = []discovery.Endpoint{{Addr: netip.MustParseAddr("10.9.0.1"), Hostname: "db-0", Ready: true}}
		apply(t, table, cluster("far-"+name, eastLocality, gateway(443, []string{"192.0.2.1", "192.0.2.2"}[i])), 1, s)
	}
	table.SetLoaded()
	p := manyZones(t, table)
	l := p.view.link.(*fakeLink)
	targets := func() (all []string) {
		m, _ := ask(t, p, question("_http._tcp.db.n.svc.clusterset.local.", dns.TypeSRV))
		for _, rr := range m.Answer {
			all = append(all, rr.(*dns.SRV).Target)
		}
		return all
	}
	const west, east = "db-0.far-west.db.n.svc.clusterset.local.", "db-0.far-east.db.n.svc.clusterset.local."
	for _, tc := range []struct {
		name   string
		states map[string]replica.GatewayState
		want   []string
	}{
		{"nothing is known", nil, []string{west, east}},
		{"one is down", map[string]replica.GatewayState{"far-west 192.0.2.1:443": down}, []string{east}},
		{"all are", map[string]replica.GatewayState{"far-west 192.0.2.1:443": down, "far-east 192.0.2.2:443": down}, []string{west, east}},
	} {
		l.probe(tc.states)
		require.ElementsMatch(t, tc.want, targets(), tc.name)
		require.Equal(t, []string{"192.0.2.1"}, rdata(t, p, west, dns.TypeA), tc.name)
	}
	// Another cluster has it as a plain service: its hosts are all there is.
	apply(t, table, cluster("plain", eastLocality, gateway(443, "192.0.2.3")), 1, service("n", "db", 1, 1))
	require.ElementsMatch(t, []string{west, east}, targets())
}
