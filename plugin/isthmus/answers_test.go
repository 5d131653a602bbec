package isthmus

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// 100,000 answers are within one point of what ready endpoints and weights
// say, for the cluster and for the first of its addresses.
func TestBalance(t *testing.T) {
	const queries = 100_000
	table := demoTable(t)
	weighted := service("w", "w", 2, 2)
	weighted.Weight = 3
	apply(t, table, cluster("north", eastLocality, gateway(1, "192.0.2.1", "192.0.2.2")), 1, weighted)
	apply(t, table, cluster("south", eastLocality, gateway(1, "192.0.2.3")), 1, service("w", "w", 4, 9))
	heavy, light := gateway(1, "192.0.2.11", "192.0.2.12"), gateway(1, "192.0.2.13")
	heavy.Weight = 3
	apply(t, table, cluster("uneven", westLocality, heavy, light, gateway(1, "2001:db8::14")), 1, service("g", "g", 1, 1))
	tests := []struct {
		qname string
		want  map[string]float64 // by first address
	}{
		{"payment-service.production.global.", map[string]float64{"127.2.0.10": 0.6, "127.3.0.10": 0.4}},
		{"user-service.production.global.", map[string]float64{"10.1.0.1": 1}},
		{"g.g.global.", map[string]float64{"192.0.2.11": 0.375, "192.0.2.12": 0.375, "192.0.2.13": 0.25}},
		{"uneven.g.g.global.", map[string]float64{"192.0.2.11": 0.375, "192.0.2.12": 0.375, "192.0.2.13": 0.25}},
		{"w.w.global.", map[string]float64{"192.0.2.1": 0.3, "192.0.2.2": 0.3, "192.0.2.3": 0.4}},
	}
	p := newPlugin(newLink(table))
	m, _ := ask(t, p, question("g.g.global.", dns.TypeAAAA))
	require.Len(t, m.Answer, 1)
	for _, tc := range tests {
		t.Run(tc.qname, func(t *testing.T) {
			got := map[string]int{}
			for range queries {
				m, _ := ask(t, p, question(tc.qname, dns.TypeA))
				got[m.Answer[0].(*dns.A).A.String()]++
			}
			require.Len(t, got, len(tc.want))
			for addr, share := range tc.want {
				require.InDelta(t, share, float64(got[addr])/queries, 0.01, addr)
			}
		})
	}
}

func TestFamilies(t *testing.T) {
	table := demoTable(t)
	apply(t, table, cluster("six", centralLocality, gateway(1, "2001:db8::6")), 1,
		service("fam", "far", 1, 1), service("fam", "own", 1, 1))
	apply(t, table, cluster("four", westLocality, gateway(1, "192.0.2.4")), 1, service("fam", "far", 1, 1))
	apply(t, table, cluster("west", westLocality), 6, service("fam", "own", 1, 1, "10.1.0.77"))
	p := newPlugin(newLink(table))
	tests := []struct {
		name, qname string
		qtype       uint16
		want        string
	}{
		{"the nearer cluster has it", "far.fam.global.", dns.TypeA, "192.0.2.4"},
		{"only the farther cluster has it", "far.fam.global.", dns.TypeAAAA, "2001:db8::6"},
		{"the own cluster has one family", "own.fam.global.", dns.TypeA, "10.1.0.77"},
		{"and keeps clients from the other elsewhere", "own.fam.global.", dns.TypeAAAA, ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m, _ := ask(t, p, question(tc.qname, tc.qtype))
			if tc.want == "" {
				require.Empty(t, m.Answer)
				return
			}
			require.Len(t, m.Answer, 1)
			require.Contains(t, m.Answer[0].String(), tc.want)
		})
	}
}

// Whatever answers were built from must rebuild them when it changes.
func TestAnswersFollowChanges(t *testing.T) {
	l := newLink(demoTable(t))
	p := newPlugin(l)
	first := func(qname string) string {
		m, _ := ask(t, p, question(qname, dns.TypeA))
		if len(m.Answer) == 0 {
			return ""
		}
		return m.Answer[0].(*dns.A).A.String()
	}
	const apollo = "apollo-configservice.apollo.global."
	const user = "user-service.production.global."
	require.Equal(t, "127.3.0.10", first(apollo))

	east := service("apollo", "apollo-configservice", 1, 1, "10.3.0.3")
	apply(t, l.table, cluster("east", eastLocality, gateway(1, "127.3.0.99")), 8, east, service("production", "user-service", 1, 1))
	require.Equal(t, "127.3.0.99", first(apollo), "service changed")

	l.table.Apply("east", discovery.Update{Cluster: cluster("east", eastLocality, gateway(1, "127.3.0.98"))}, discovery.Version{Epoch: 1, Seq: 9})
	require.Equal(t, "127.3.0.98", first(apollo), "only the cluster's record changed")

	require.Equal(t, "10.1.0.1", first(user))
	l.view.Store(&View{Cluster: "east"})
	require.Contains(t, []string{"127.1.0.10", "127.2.0.10"}, first(user), "another view, whose own cluster has no address")
}

func TestMemoIsKept(t *testing.T) {
	l := newLink(demoTable(t))
	p := newPlugin(l)
	e := l.table.Lookup("payment-service.production")
	a := p.view.answers(e, l.View())
	require.Same(t, a, p.view.answers(e, l.View()))
	l.view.Store(&View{Cluster: "east", Locality: eastLocality})
	b := p.view.answers(e, l.View())
	require.NotSame(t, a, b)
	require.Equal(t, locality.TierOwn, b.all.Verdicts[1].Tier)
	other := &viewpoint{link: l, names: p.view.names, outlook: p.view.outlook, locality: centralLocality}
	c := other.answers(e, l.View())
	require.Equal(t, locality.TierZone, c.all.Verdicts[0].Tier, "the Corefile's locality wins")
	require.Same(t, b, p.view.answers(e, l.View()))
}

func TestGatewayHostNames(t *testing.T) {
	l := newLink(demoTable(t))
	p := newPlugin(l)
	lb := service("lb", "lb", 1, 1)
	lb.Gateways = []discovery.Gateway{{Hostname: "lb.example.net", Kind: discovery.GatewayLoadBalancer}}
	apply(t, l.table, cluster("east", eastLocality), 8, lb)
	for _, qname := range []string{"lb.lb.global.", "east.lb.lb.global."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV} {
			_, rcode := ask(t, p, question(qname, qtype))
			require.Equal(t, dns.RcodeServerFailure, rcode, "not resolved yet is not: no address")
		}
	}
	p.view.names.store("lb.example.net", found{addrs: addrs("198.51.100.1")}, found{err: errNoAddress})
	m, _ := ask(t, p, question("lb.lb.global.", dns.TypeA))
	require.Contains(t, m.Answer[0].String(), "198.51.100.1")
	p.view.names.store("lb.example.net", found{addrs: addrs("198.51.100.2")}, found{err: errNoAddress})
	m, _ = ask(t, p, question("lb.lb.global.", dns.TypeA))
	require.Contains(t, m.Answer[0].String(), "198.51.100.2")

	// The DNS has denied it for good: there is none, which is no failure.
	p.view.names.names["lb.example.net"].denied = time.Now().Add(-keepDenied)
	p.view.names.store("lb.example.net", found{err: errNoAddress}, found{err: errNoAddress})
	m, rcode := ask(t, p, question("lb.lb.global.", dns.TypeA))
	require.Equal(t, dns.RcodeSuccess, rcode)
	require.Empty(t, m.Answer)
	m, _ = ask(t, p, question("_why.lb.lb.global.", dns.TypeTXT))
	require.Equal(t, []string{
		`east: out weight=0 ready=1/1 gateway=- up=unknown rtt=- age=unknown rule="gateway host name has no address"`,
	}, texts(m))
}

func TestSRVOrder(t *testing.T) {
	const queries = 100_000
	p := newPlugin(newLink(demoTable(t)))
	got := map[string]int{}
	for range queries {
		m, _ := ask(t, p, question("_http._tcp.payment-service.production.global.", dns.TypeSRV))
		got[m.Answer[0].(*dns.SRV).Target]++
	}
	require.InDelta(t, 0.6, float64(got["central.payment-service.production.global."])/queries, 0.01)
	for range 100 {
		m, _ := ask(t, p, question("user-service.production.global.", dns.TypeSRV))
		require.Equal(t, uint16(0), m.Answer[0].(*dns.SRV).Priority, "nearest first")
	}
}

func TestFitWeights(t *testing.T) {
	tests := []struct {
		name    string
		weights []uint64
		want    []uint16
	}{
		{"none", nil, []uint16{}},
		{"small ones stay", []uint64{3, 2, 7}, []uint16{3, 2, 7}},
		{"the largest sum that fits", []uint64{65534, 1}, []uint16{65534, 1}},
		{"scaled to the sum", []uint64{1 << 40, 1 << 40, 1 << 41}, []uint16{16384, 16384, 32767}},
		{"none becomes 0", []uint64{1, 1 << 50}, []uint16{1, 65534}},
		{"one alone", []uint64{1 << 63}, []uint16{65535}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.want, fitWeights(tc.weights))
		})
	}
}

// Records of one RRset differ (RFC 2181 section 5), though ports of a service
// may not: at a gateway with one port for all, or one number for TCP and UDP.
func TestSRVRecordsDiffer(t *testing.T) {
	dnsPorts := []discovery.Port{
		{Name: "dns", Protocol: discovery.UDP, Port: 53},
		{Name: "dns-tcp", Protocol: discovery.TCP, Port: 53},
		{Name: "metrics", Protocol: discovery.TCP, Port: 9153},
	}
	here, there := service("infra", "resolver", 1, 1, "10.1.0.53"), service("infra", "resolver", 1, 1)
	here.Ports, there.Ports = dnsPorts, dnsPorts
	table := demoTable(t)
	apply(t, table, cluster("west", westLocality), 9, here)
	apply(t, table, cluster("east", eastLocality, gateway(15443, "192.0.2.3")), 9, there)
	p := newPlugin(newLink(table))
	m, _ := ask(t, p, question("resolver.infra.global.", dns.TypeSRV))
	var got []string
	for _, rr := range m.Answer {
		srv := rr.(*dns.SRV)
		got = append(got, fmt.Sprint(srv.Target, srv.Port))
	}
	require.ElementsMatch(t, []string{
		"west.resolver.infra.global.53", "west.resolver.infra.global.9153", "east.resolver.infra.global.15443",
	}, got)
	m, _ = ask(t, p, question("_metrics._tcp.resolver.infra.global.", dns.TypeSRV))
	require.Len(t, m.Answer, 2)
}

// A target that is too long for a name would make the whole reply one that
// nobody can read.
func TestSRVTargetTooLong(t *testing.T) {
	label := strings.Repeat("x", discovery.MaxLabel)
	zone := label[:57] + ".example." // x.x.zone has 254 characters, the most there can be
	table := demoTable(t)
	apply(t, table, cluster("c", eastLocality, gateway(1, "192.0.2.1")), 1, service(label, label, 1, 1))
	apply(t, table, cluster(label, eastLocality, gateway(1, "192.0.2.2")), 1, service(label, label, 1, 1))
	p := newPlugin(newLink(table))
	p.zones = zones{newZone(zone)}
	m, _ := ask(t, p, question(label+"."+label+"."+zone, dns.TypeSRV))
	wire, err := m.Pack()
	require.NoError(t, err)
	require.NoError(t, new(dns.Msg).Unpack(wire))
	require.Len(t, m.Answer, 1)
	require.Equal(t, "c."+label+"."+label+"."+zone, m.Answer[0].(*dns.SRV).Target)
}

// More clusters than a message holds: the answer is bounded and a message.
func TestSRVBound(t *testing.T) {
	table := demoTable(t)
	for i := range 600 {
		apply(t, table, cluster(fmt.Sprint("c", i), eastLocality, gateway(1, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String())), 1,
			service("many", "many", 1, 1))
	}
	p := newPlugin(newLink(table))
	m, _ := ask(t, p, question("many.many.global.", dns.TypeSRV))
	require.Len(t, m.Answer, maxSRV)
	require.Len(t, m.Extra, maxSRVAddresses)
	m, _ = ask(t, p, question("_why.many.many.global.", dns.TypeTXT))
	require.Len(t, m.Answer, maxStrings)
	m, _ = ask(t, p, question("_clusters.global.", dns.TypeTXT))
	require.Len(t, m.Answer, maxStrings)
}

func texts(m *dns.Msg) []string {
	var lines []string
	for _, rr := range m.Answer {
		lines = append(lines, rr.(*dns.TXT).Txt...)
	}
	return lines
}

func TestWhy(t *testing.T) {
	synctest.Test(t, testWhy) // ages stand still
}

func testWhy(t *testing.T) {
	l := newLink(demoTable(t))
	l.heard = map[string]time.Time{
		"west": time.Now(), "east": time.Now().Add(-3900 * time.Millisecond), // central: not since the start
	}
	lb := service("production", "lb", 2, 2)
	lb.Gateways = []discovery.Gateway{named("lb.example")}
	heavy := service("production", "heavy", 2, 2)
	heavy.Weight = 7
	apply(t, l.table, &discovery.Cluster{Name: "north", UID: "n", Network: "flat"}, 9, lb, heavy)
	p := newPlugin(l)
	users := []string{
		`west: in tier=0(own) weight=2 share=100% ready=2/2 address=10.1.0.1,fd00:1::1 up=- rtt=- age=0s rule="lowest tier with candidates"`,
		`central: standby tier=3(other) weight=3 ready=3/3 gateway=127.2.0.10 up=unknown rtt=- age=unknown rule="a lower tier has candidates"`,
		`east: standby tier=3(other) weight=3 ready=3/3 gateway=127.3.0.10 up=unknown rtt=- age=3s rule="a lower tier has candidates"`,
	}
	tests := []struct {
		qname string
		want  []string
	}{
		{"_why.payment-service.production.global.", []string{
			`central: in tier=3(other) weight=3 share=60% ready=3/4 gateway=127.2.0.10 up=unknown rtt=- age=unknown rule="lowest tier with candidates"`,
			`east: in tier=3(other) weight=2 share=40% ready=2/2 gateway=127.3.0.10 up=unknown rtt=- age=3s rule="lowest tier with candidates"`,
		}},
		{"_why.user-service.production.global.", users},
		{"_why.down.production.global.", []string{
			`west: out weight=0 ready=0/2 address=10.1.0.9 up=- rtt=- age=0s rule="no ready endpoint"`,
		}},
		{"_why.users.global.", users},
		{"_why.heavy.production.global.", []string{
			`north: out weight=0 ready=2/2 gateway=- up=- rtt=- age=unknown rule="no gateway"`,
		}},
		{"_why.lb.production.global.", []string{
			`north: out weight=0 ready=2/2 gateway=- up=unknown rtt=- age=unknown rule="gateway host name not resolved"`,
		}},
		{"_clusters.global.", []string{
			`central locality=us-central1/us-central1-a network=- version=1.6 age=unknown services=2 gateways=unknown/1`,
			`east locality=us-east1/us-east1-b network=- version=1.7 age=3s services=3 gateways=unknown/1`,
			`north locality=- network=flat version=1.9 age=unknown services=2 gateways=unknown/0`,
			`west locality=us-west1/us-west1-a network=- version=1.5 age=0s services=3 gateways=unknown/1`,
		}},
	}
	for _, tc := range tests {
		m, _ := ask(t, p, question(tc.qname, dns.TypeTXT))
		require.Equal(t, tc.want, texts(m), tc.qname)
		m, _ = ask(t, p, question(tc.qname, dns.TypeA))
		require.Equal(t, dns.RcodeSuccess, m.Rcode)
		require.Empty(t, m.Answer)
	}
	time.Sleep(95*time.Second + 26*time.Hour)
	m, _ := ask(t, p, question("_clusters.global.", dns.TypeTXT))
	require.Contains(t, texts(m)[1], " age=26h1m38s ")
	m, _ = ask(t, p, question("_why.heavy.production.global.", dns.TypeTXT))
	require.Contains(t, texts(m)[0], "weight=0")
	apply(t, l.table, &discovery.Cluster{Name: "north", UID: "n", Network: "flat", GatewaySets: []discovery.GatewaySet{
		{Name: discovery.DefaultGatewaySet, Gateways: []discovery.Gateway{gateway(443, "192.0.2.9")}},
	}}, 10, lb, heavy)
	m, _ = ask(t, p, question("_why.heavy.production.global.", dns.TypeTXT))
	require.Contains(t, texts(m)[0], " weight=14 ", "a service's weight counts for each ready endpoint")
	m, _ = ask(t, p, question("_why.nobody.production.global.", dns.TypeTXT))
	require.Equal(t, dns.RcodeNameError, m.Rcode)
}

// A line of the longest names and numbers fits one TXT string with all its
// fields; addresses that have no room are counted.
func TestWhyLineLength(t *testing.T) {
	const age = "2562047h47m16s" // the longest time.Duration
	long := strings.Repeat("x", discovery.MaxLabel)
	way := collect(locality.ByGateway, locality.NoGateway, addrs("2001:db8:aaaa:bbbb:cccc:dddd:eeee:1",
		"2001:db8:aaaa:bbbb:cccc:dddd:eeee:2", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:3", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:4"))
	verdict := locality.Verdict{Tier: locality.TierRegion, Weight: 6, In: true, Share: 0.12345, Reason: locality.ReasonChosen}
	short := whyLine(locality.Candidate{Cluster: "x", Ready: 6, Total: 6}, verdict, &way, "1s")
	require.Contains(t, short, ":3,+1 up=")
	require.Contains(t, short, "share=12.3%")

	const most = discovery.MaxZones * discovery.MaxCount
	verdict.Weight = most * discovery.MaxWeight
	candidate := locality.Candidate{Cluster: long, Ready: most, Total: most}
	for _, tc := range []locality.Verdict{
		verdict,
		{Tier: locality.TierRegion, Weight: verdict.Weight, Reason: locality.ReasonStandby},
		{Tier: locality.TierOut, Reason: locality.ReasonRefused},
	} {
		for _, way := range []*addresses{&way, {reach: locality.Refused}} {
			line := whyLine(candidate, tc, way, age)
			require.LessOrEqual(t, len(line), maxString)
			require.True(t, strings.HasSuffix(line, fmt.Sprintf("rule=%q", tc.Reason)), line)
		}
	}
}

func TestClusterLineLength(t *testing.T) {
	long := strings.Repeat("x", discovery.MaxLabel)
	c := cluster(long, discovery.Locality{Region: long, Zone: long, Subzone: long}, gateway(1, "192.0.2.1"))
	c.Network = long
	require.NoError(t, c.Validate())
	line := clusterLine(discovery.ClusterState{
		Cluster: c, Services: 200_000, Version: discovery.Version{Epoch: math.MaxUint64, Seq: math.MaxUint64},
	}, "2562047h47m16s", "63/64,unknown=1")
	require.Len(t, line, maxString)
	require.True(t, strings.HasPrefix(line, long+" locality=xxx"))
	require.True(t, strings.HasSuffix(line, "xxx... version=18446744073709551615.18446744073709551615 age=2562047h47m16s services=200000 gateways=63/64,unknown=1"), line)
}

func TestSerial(t *testing.T) {
	table := demoTable(t)
	s := &serial{}
	first := s.current(contents{reverseState: reverseState{first: firstState(table)}})
	require.Equal(t, first, s.current(contents{reverseState: reverseState{first: firstState(table)}}))
	for range 3 {
		before := s.current(contents{reverseState: reverseState{first: firstState(table)}})
		apply(t, table, cluster("east", eastLocality), 8)
		require.Positive(t, int32(s.current(contents{reverseState: reverseState{first: firstState(table)}})-before))
	}
}
