package isthmus

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

var (
	up      = replica.GatewayState{Known: true, Up: true}
	down    = replica.GatewayState{Known: true}
	unknown = replica.GatewayState{}
)

func upAfter(rtt time.Duration) replica.GatewayState {
	return replica.GatewayState{Known: true, Up: true, RTT: rtt}
}

// probe sets what is known of gateways, by "cluster address:port", all checked
// by TCP.
func (l *fakeLink) probe(states map[string]replica.GatewayState) {
	clusters := map[string]map[replica.GatewayAddress]replica.GatewayState{}
	for at, state := range states {
		name, addr, _ := strings.Cut(at, " ")
		if clusters[name] == nil {
			clusters[name] = map[replica.GatewayAddress]replica.GatewayState{}
		}
		clusters[name][replica.GatewayAddress{AddrPort: netip.MustParseAddrPort(addr), Check: discovery.CheckTCP}] = state
	}
	l.gates.Store(replica.NewGatewayStates(clusters))
}

// route sets the view's routing policy.
func (l *fakeLink) route(t testing.TB, r locality.Routing) {
	t.Helper()
	text, err := r.Encode()
	require.NoError(t, err)
	view := *l.view.Load()
	view.Routing = text
	l.view.Store(&view)
}

var eighty = locality.Rules{
	Failover:   []locality.Failover{{From: "us-west1", To: []string{"us-east1", "europe"}}},
	Distribute: []locality.Distribute{{From: "us-west1/*", To: map[string]uint32{"us-west1/*": 80, "us-central1/*": 20}}},
}

// region is a table of one service s.n in clusters of one gateway each,
// "192.0.2.N:443" by their order; seen from west, whose Service is 10.1.0.1.
func region(t testing.TB, counts ...string) *fakeLink {
	t.Helper()
	table := discovery.NewTable()
	for i, line := range counts {
		var name, where string
		var ready, total uint32
		_, err := fmt.Sscanf(line, "%s %s %d/%d", &name, &where, &ready, &total)
		require.NoError(t, err)
		l, err := discovery.ParseLocality(where)
		require.NoError(t, err)
		s := service("n", "s", ready, total, fmt.Sprintf("10.%d.0.1", i+1))
		apply(t, table, cluster(name, l, gateway(443, fmt.Sprint("192.0.2.", i+1))), 1, s)
	}
	table.SetLoaded()
	return newLink(table)
}

// shared draws n answers and returns which part each first address got.
func shared(t testing.TB, p *Isthmus, qname string, n int) map[string]float64 {
	t.Helper()
	got := map[string]float64{}
	for range n {
		m, _ := ask(t, p, question(qname, dns.TypeA))
		require.NotEmpty(t, m.Answer)
		got[m.Answer[0].(*dns.A).A.String()] += 1 / float64(n)
	}
	return got
}

func requireShares(t testing.TB, want, got map[string]float64, what string) {
	t.Helper()
	for addr := range got {
		require.Contains(t, want, addr, what)
	}
	for addr, share := range want {
		require.InDelta(t, share, got[addr], 0.02, "%s: %s", what, addr)
	}
}

// 80/20 and failover together, as gateways and endpoints come and go.
func TestDistributeWithFailover(t *testing.T) {
	const west, next, central, east = "10.1.0.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"
	lines := []string{"west us-west1/a 0/2", "next us-west1/b 3/3", "central us-central1/a 9/9", "east us-east1/a 9/9"}
	const nextUp, centralUp, eastUp = "next 192.0.2.2:443", "central 192.0.2.3:443", "east 192.0.2.4:443"
	l := region(t, lines...)
	l.route(t, locality.Routing{Rules: eighty})
	p := newPlugin(l)
	steps := []struct {
		name   string
		states map[string]replica.GatewayState
		own    uint32 // ready of 2
		want   map[string]float64
	}{
		{"80/20; west's endpoints are missed: 80 × 1.4 × 3/5 = 67.2 to 20", nil, 0, map[string]float64{next: 67.2 / 87.2, central: 20 / 87.2}},
		{"unknown is not down", map[string]replica.GatewayState{nextUp: unknown, centralUp: up}, 0, map[string]float64{next: 67.2 / 87.2, central: 20 / 87.2}},
		{"0→1 endpoint of the own cluster: 1.4 × 4/5 is more than enough", nil, 1, map[string]float64{west: 0.2, next: 0.6, central: 0.2}},
		{"and 1→0", nil, 0, map[string]float64{next: 67.2 / 87.2, central: 20 / 87.2}},
		{"a pattern without candidates leaves all to the other", map[string]replica.GatewayState{nextUp: down}, 0, map[string]float64{central: 1}},
		{"no pattern has any: failover", map[string]replica.GatewayState{nextUp: down, centralUp: down}, 0, map[string]float64{east: 1}},
		{"all are down: all patterns again", map[string]replica.GatewayState{nextUp: down, centralUp: down, eastUp: down}, 0, map[string]float64{next: 67.2 / 87.2, central: 20 / 87.2}},
		{"all are down but an endpoint of our own", map[string]replica.GatewayState{nextUp: down, centralUp: down, eastUp: down}, 2, map[string]float64{west: 1}},
	}
	for i, step := range steps {
		l.probe(step.states)
		apply(t, l.table, cluster("west", discovery.Locality{Region: "us-west1", Zone: "a"}, gateway(443, "192.0.2.1")), uint64(i+2),
			service("n", "s", step.own, 2, west))
		requireShares(t, step.want, shared(t, p, "s.n.global.", 10_000), step.name)
	}
}

// Local endpoints that come and go one by one move load in steps.
func TestLocalEndpointsMoveLoadInProportion(t *testing.T) {
	l := region(t, "west us-west1/us-west1-a 0/10", "east us-east1/a 3/3")
	p := newPlugin(l)
	for seq, ready := range []uint32{0, 1, 2, 5, 7, 8, 10, 7, 1, 0} {
		apply(t, l.table, cluster("west", westLocality), uint64(seq+2), service("n", "s", ready, 10, "10.1.0.1"))
		own := min(1, 1.4*float64(ready)/10)
		want := map[string]float64{"10.1.0.1": own, "192.0.2.2": 1 - own}
		requireShares(t, want, shared(t, p, "s.n.global.", 5000), fmt.Sprint(ready, " ready"))
	}
}

// Of a gateway's addresses those that are down leave the answers while others
// are there.
func TestAddressesThatAreDown(t *testing.T) {
	table := demoTable(t)
	apply(t, table, cluster("trio", westLocality, gateway(443, "192.0.2.1", "192.0.2.2"), gateway(443, "192.0.2.3", "2001:db8::3")), 1, service("n", "s", 1, 1))
	l := newLink(table)
	p := newPlugin(l)
	for _, tc := range []struct {
		name   string
		states map[string]replica.GatewayState
		v4, v6 []string
	}{
		{"nothing is known", nil, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, []string{"2001:db8::3"}},
		{"one is down", map[string]replica.GatewayState{"trio 192.0.2.2:443": down}, []string{"192.0.2.1", "192.0.2.3"}, []string{"2001:db8::3"}},
		{"one is left", map[string]replica.GatewayState{"trio 192.0.2.2:443": down, "trio 192.0.2.1:443": down, "trio 192.0.2.3:443": up}, []string{"192.0.2.3"}, []string{"2001:db8::3"}},
		{"the other family is", map[string]replica.GatewayState{"trio 192.0.2.2:443": down, "trio 192.0.2.1:443": down, "trio 192.0.2.3:443": down}, nil, []string{"2001:db8::3"}},
		{
			"all are down",
			map[string]replica.GatewayState{"trio 192.0.2.2:443": down, "trio 192.0.2.1:443": down, "trio 192.0.2.3:443": down, "trio [2001:db8::3]:443": down},
			[]string{"192.0.2.1", "192.0.2.2", "192.0.2.3"},
			[]string{"2001:db8::3"},
		},
		{"another port says nothing", map[string]replica.GatewayState{"trio 192.0.2.2:80": down}, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, []string{"2001:db8::3"}},
	} {
		l.probe(tc.states)
		for _, qname := range []string{"s.n.global.", "trio.s.n.global."} {
			require.ElementsMatch(t, tc.v4, rdata(t, p, qname, dns.TypeA), "%s: %s", tc.name, qname)
			require.ElementsMatch(t, tc.v6, rdata(t, p, qname, dns.TypeAAAA), "%s: %s", tc.name, qname)
		}
	}
}

// rdata are the addresses of an answer.
func rdata(t testing.TB, p *Isthmus, qname string, qtype uint16) (all []string) {
	t.Helper()
	m, _ := ask(t, p, question(qname, qtype))
	require.NotNil(t, m, qname)
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			all = append(all, rr.A.String())
		case *dns.AAAA:
			all = append(all, rr.AAAA.String())
		}
	}
	return all
}

// A cluster whose only address of a family is down comes back in that family
// alone, as nothing else has it; in the plan of both it stays out.
func TestPanicInOneFamily(t *testing.T) {
	table := demoTable(t)
	apply(t, table, cluster("four", eastLocality, gateway(443, "192.0.2.4")), 1, service("n", "s", 1, 1))
	apply(t, table, cluster("six", eastLocality, gateway(443, "2001:db8::6")), 1, service("n", "s", 1, 1))
	l := newLink(table)
	p := newPlugin(l)
	reg := prometheus.NewPedanticRegistry()
	p.metrics = newMetrics(reg, newRegistry(linger))
	l.probe(map[string]replica.GatewayState{"six [2001:db8::6]:443": down})
	require.Equal(t, []string{"2001:db8::6"}, rdata(t, p, "s.n.global.", dns.TypeAAAA))
	require.Equal(t, []string{"192.0.2.4"}, rdata(t, p, "s.n.global.", dns.TypeA))
	got := exposition(t, reg)
	require.Contains(t, got, `answers_total{reason="panic",tier="other"} 1`)
	require.Contains(t, got, `answers_total{reason="nearest",tier="other"} 1`)
}

// Names of one cluster leave no choice: its gateway is answered though it is
// down, by all of them.
func TestNamesOfAClusterThatIsDown(t *testing.T) {
	table := demoTable(t)
	db := service("n", "db", 1, 1)
	db.Kind, db.Ports[0].Name, db.Ports[0].Port = discovery.KindHeadless, "https", 443
	db.Endpoints = []discovery.Endpoint{{Addr: netip.MustParseAddr("10.9.0.1"), Hostname: "db-0", Ready: true, Zone: "z"}}
	other := service("n", "db", 1, 1)
	other.Ports = db.Ports
	apply(t, table, cluster("far", discovery.Locality{Region: "r", Zone: "z"}, gateway(8443, "192.0.2.1"), gateway(9443, "192.0.2.2")), 1, db)
	apply(t, table, cluster("near", discovery.Locality{Region: "r", Zone: "y"}, gateway(443, "192.0.2.3")), 1, other)
	l := newLink(table)
	l.probe(map[string]replica.GatewayState{"far 192.0.2.1:8443": down, "far 192.0.2.2:9443": down})
	p := newPlugin(l)
	require.Equal(t, []string{"192.0.2.3"}, rdata(t, p, "db.n.global.", dns.TypeA))
	for qname, want := range map[string][]string{
		"far.db.n.global.":                   {"192.0.2.1", "192.0.2.2"},
		"db-0.far.db.n.global.":              {"192.0.2.1", "192.0.2.2"},
		"9443.gateway.far.db.n.global.":      {"192.0.2.2"},
		"z.pin._zone.db.n.global.":           {"192.0.2.1", "192.0.2.2"},
		"z.pin._zone.far.db.n.global.":       {"192.0.2.1", "192.0.2.2"},
		"z.prefer._zone.db.n.global.":        {"192.0.2.3"}, // there is better elsewhere
		"z.prefer._zone.far.db.n.global.":    {"192.0.2.1", "192.0.2.2"},
		"r.prefer._region.db.n.global.":      {"192.0.2.3"},
		"z.pin._zone.near.db.n.global.":      nil,
		"8443.gateway.far.db.n.global.":      {"192.0.2.1"},
		"x.pin._zone.far.db.n.global.":       nil,
		"x.prefer._zone.far.db.n.global.":    {"192.0.2.1", "192.0.2.2"},
		"y.prefer._zone.near.db.n.global.":   {"192.0.2.3"},
		"y.prefer._region.near.db.n.global.": {"192.0.2.3"},
	} {
		require.ElementsMatch(t, want, rdata(t, p, qname, dns.TypeA), qname)
	}
	for _, qtype := range []uint16{dns.TypeSRV, dns.TypeSVCB, dns.TypeHTTPS} {
		m, _ := ask(t, p, question("far.db.n.global.", qtype))
		require.Len(t, m.Answer, 2, dns.TypeToString[qtype])
		m, _ = ask(t, p, question("db.n.global.", qtype))
		require.Len(t, m.Answer, 1, dns.TypeToString[qtype])
	}
	// One of two ports is down: its gateways are told to nobody anew, but who
	// holds their name is not left without an address.
	l.probe(map[string]replica.GatewayState{"far 192.0.2.1:8443": down})
	m, _ := ask(t, p, question("far.db.n.global.", dns.TypeSRV))
	require.Len(t, m.Answer, 1)
	require.Equal(t, "9443.gateway.far.db.n.global.", m.Answer[0].(*dns.SRV).Target)
	require.Equal(t, []string{"192.0.2.1"}, rdata(t, p, "8443.gateway.far.db.n.global.", dns.TypeA))
}

// hear sets when clusters were heard of, as time since then.
func (l *fakeLink) hear(since map[string]time.Duration) {
	heard := map[string]time.Time{}
	for name, d := range since {
		heard[name] = time.Now().Add(-d)
	}
	l.heardNow.Store(&heard)
}

// staleness asks with EDNS: the EDE, -1 for none, and the first address.
func staleness(t testing.TB, p *Isthmus, qname string, qtype uint16) (ede int, first string) {
	t.Helper()
	req := question(qname, qtype)
	req.SetEdns0(1232, false)
	m, _ := ask(t, p, req)
	ede = -1
	if opt := m.IsEdns0(); opt != nil {
		ede = int(opt.Option[0].(*dns.EDNS0_EDE).InfoCode)
	}
	if len(m.Answer) > 0 {
		if a, ok := m.Answer[0].(*dns.A); ok {
			first = a.A.String()
		}
	}
	return ede, first
}

// The table of DESIGN section 7: watchers dead, gateway dead, both, and we are
// the one cut off.
func TestSilentClusters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := region(t, "west us-west1/us-west1-a 0/1", "zone us-west1/us-west1-a 2/2", "region us-west1/us-west1-b 2/2", "far us-east1/x 2/2", "more us-east1/y 0/2", "most us-east1/z 0/2")
		p := newPlugin(l)
		const zone, next = "192.0.2.2", "192.0.2.3"
		fresh := map[string]time.Duration{"zone": 0, "region": 0, "far": 0, "more": 0, "most": 0}
		with := func(name string, since time.Duration) map[string]time.Duration {
			all := map[string]time.Duration{}
			for other, d := range fresh {
				all[other] = d
			}
			all[name] = since
			return all
		}
		look := func(heard map[string]time.Duration, states map[string]replica.GatewayState) map[string]float64 {
			l.hear(heard)
			l.probe(states)
			p.view.outlook.sweep(time.Now())
			return shared(t, p, "s.n.global.", 4000)
		}
		requireShares(t, map[string]float64{zone: 1}, look(fresh, nil), "fresh")
		ede, _ := staleness(t, p, "s.n.global.", dns.TypeA)
		require.Equal(t, -1, ede)
		requireShares(t, map[string]float64{zone: 1}, look(with("zone", locality.SilentAfter-1), nil), "a moment before")

		requireShares(t, map[string]float64{zone: 0.5, next: 0.5}, look(with("zone", locality.SilentAfter), nil), "silent: one tier lower")
		seen := map[string]int{}
		for range 100 {
			ede, first := staleness(t, p, "s.n.global.", dns.TypeA)
			seen[first] = ede
		}
		require.Equal(t, map[string]int{zone: int(dns.ExtendedErrorCodeStaleAnswer), next: -1}, seen, "only the answer that names it")
		for _, qtype := range []uint16{dns.TypeSRV, dns.TypeSVCB} {
			ede, _ = staleness(t, p, "s.n.global.", qtype)
			require.EqualValues(t, dns.ExtendedErrorCodeStaleAnswer, ede, "it is among the records")
			ede, _ = staleness(t, p, "region.s.n.global.", qtype)
			require.Equal(t, -1, ede)
		}
		for qname, want := range map[string]int{
			"zone.s.n.global.": int(dns.ExtendedErrorCodeStaleAnswer), "region.s.n.global.": -1,
			"443.gateway.zone.s.n.global.":     int(dns.ExtendedErrorCodeStaleAnswer),
			"us-west1-a.pin._zone.s.n.global.": int(dns.ExtendedErrorCodeStaleAnswer),
			"nobody.s.n.global.":               -1,
		} {
			ede, _ = staleness(t, p, qname, dns.TypeA)
			require.Equal(t, want, ede, qname)
		}

		requireShares(t, map[string]float64{next: 0.7, "192.0.2.4": 0.3}, look(with("zone", time.Hour), map[string]replica.GatewayState{"zone 192.0.2.2:443": down}),
			"silent and down: out, but missed in the tier where it stands now")
		requireShares(t, map[string]float64{next: 0.7, "192.0.2.4": 0.3}, look(with("zone", time.Hour), map[string]replica.GatewayState{"zone 192.0.2.2:443": down, "region 192.0.2.3:443": down, "far 192.0.2.4:443": down}),
			"nothing else is left: those that are not silent")

		// Most turn silent together: it is we.
		cut := map[string]time.Duration{"zone": time.Minute, "region": time.Minute, "far": time.Minute, "more": time.Minute, "most": time.Minute}
		requireShares(t, map[string]float64{zone: 1}, look(cut, nil), "frozen: as it was")
		ede, _ = staleness(t, p, "s.n.global.", dns.TypeA)
		require.EqualValues(t, dns.ExtendedErrorCodeStaleAnswer, ede)

		// They come back one by one, within a heartbeat or two: nobody is
		// demoted for being the last.
		back := map[string]time.Duration{"zone": time.Minute, "region": 0, "far": 0, "more": 0, "most": 0}
		requireShares(t, map[string]float64{zone: 1}, look(back, nil), "still frozen")
		time.Sleep(locality.SilentAfter)
		requireShares(t, map[string]float64{zone: 0.5, next: 0.5}, look(back, nil), "it was not we")
	})
}

// What was never heard of is taken to have been heard of at the start.
func TestSilenceSinceTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := region(t, "west us-west1/us-west1-a 0/1", "zone us-west1/us-west1-a 2/2", "region us-west1/us-west1-b 2/2", "far us-east1/x 2/2")
		p := newPlugin(l)
		ctx := t.Context()
		go p.view.outlook.Run(ctx)
		time.Sleep(29 * time.Second)
		synctest.Wait()
		l.hear(map[string]time.Duration{"region": 0, "far": 0})
		require.Equal(t, map[string]float64{"192.0.2.2": 1}, roundShares(shared(t, p, "s.n.global.", 10)))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		ede, _ := staleness(t, p, "zone.s.n.global.", dns.TypeA)
		require.EqualValues(t, dns.ExtendedErrorCodeStaleAnswer, ede)
	})
}

func roundShares(got map[string]float64) map[string]float64 {
	for addr, share := range got {
		got[addr] = float64(int(share*1000+0.5)) / 1000
	}
	return got
}

// What was built for queries stays until a decision may differ.
func TestFactsChangeOnlyWhenADecisionMay(t *testing.T) {
	l := region(t, "west us-west1/us-west1-a 0/1", "east us-east1/x 2/2", "far us-east1/y 2/2")
	l.route(t, locality.Routing{Rules: locality.Rules{Order: locality.OrderLatency}})
	p := newPlugin(l)
	e := l.table.Lookup("s.n")
	const east, far = "east 192.0.2.2:443", "far 192.0.2.3:443"
	built := func(states map[string]replica.GatewayState) *answers {
		l.probe(states)
		p.view.outlook.sweep(time.Now())
		return p.view.answers(e, l.View())
	}
	first := built(map[string]replica.GatewayState{east: upAfter(40 * time.Millisecond), far: upAfter(5 * time.Millisecond)})
	require.True(t, first.all.Verdicts[1].In)
	require.Equal(t, locality.TierLatency, first.all.Verdicts[1].Tier)
	for range 100 { // jitter of 30 % does not flap
		for _, percent := range []time.Duration{70, 100, 130} {
			require.Same(t, first, built(map[string]replica.GatewayState{
				east: upAfter(40 * time.Millisecond * percent / 100), far: upAfter(5 * time.Millisecond * (200 - percent) / 100),
			}))
		}
	}
	m, _ := ask(t, p, question("_why.s.n.global.", dns.TypeTXT))
	require.Contains(t, texts(m)[0], " rtt=3.5ms ", "what people see is the newest")
	moved := built(map[string]replica.GatewayState{east: upAfter(time.Millisecond), far: upAfter(5 * time.Millisecond)})
	require.NotSame(t, first, moved)
	require.True(t, moved.all.Verdicts[0].In)
	lost := built(map[string]replica.GatewayState{east: down, far: upAfter(5 * time.Millisecond)})
	require.NotSame(t, moved, lost)
	require.Same(t, lost, built(map[string]replica.GatewayState{east: down, far: upAfter(5 * time.Millisecond)}))
	require.NotSame(t, lost, built(map[string]replica.GatewayState{far: upAfter(5 * time.Millisecond)}), "down became unknown")
	before := p.view.currentSerial()
	built(map[string]replica.GatewayState{far: down})
	require.NotEqual(t, before, p.view.currentSerial(), "the zone holds something else")
}

// A cluster on the same network is reached by its endpoints, which nobody
// measures. It is as far away as its gateways are, and none of them has to be up.
func TestLatencyOfASharedNetwork(t *testing.T) {
	l := region(t, "west us-west1/us-west1-a 0/1", "far us-east1/x 2/2")
	peer := cluster("peer", discovery.Locality{Region: "asia"}, gateway(443, "192.0.2.9"))
	peer.Network = "flat"
	s := service("n", "s", 1, 1)
	s.Endpoints = []discovery.Endpoint{{Addr: netip.MustParseAddr("10.9.9.9"), Ready: true}}
	apply(t, l.table, peer, 1, s)
	l.view.Store(&View{Cluster: "west", Network: "flat", Locality: westLocality})
	l.route(t, locality.Routing{Rules: locality.Rules{Order: locality.OrderLatency}})
	p := newPlugin(l)
	l.probe(map[string]replica.GatewayState{"far 192.0.2.2:443": upAfter(80 * time.Millisecond), "peer 192.0.2.9:443": upAfter(5 * time.Millisecond)})
	require.Equal(t, []string{"10.9.9.9"}, rdata(t, p, "s.n.global.", dns.TypeA))
	m, _ := ask(t, p, question("_why.s.n.global.", dns.TypeTXT))
	require.Contains(t, texts(m)[0], "endpoints=10.9.9.9 up=- rtt=5ms")
	l.probe(map[string]replica.GatewayState{"far 192.0.2.2:443": upAfter(80 * time.Millisecond), "peer 192.0.2.9:443": {Known: true, RTT: 5 * time.Millisecond}})
	require.Equal(t, []string{"10.9.9.9"}, rdata(t, p, "s.n.global.", dns.TypeA), "its endpoints need no gateway")
}

// A policy that can't be used leaves the one before.
func TestBrokenPolicy(t *testing.T) {
	l := region(t, "west us-west1/us-west1-a 0/1", "near us-west1/us-west1-b 2/2", "east us-east1/x 2/2")
	p := newPlugin(l)
	set := func(text string) []string {
		view := *l.view.Load()
		view.Routing = text
		l.view.Store(&view)
		return rdata(t, p, "s.n.global.", dns.TypeA)
	}
	require.Equal(t, []string{"192.0.2.2"}, set(`{"Order": "sideways"}`), "none was good yet: the default")
	good, err := locality.Routing{Rules: locality.Rules{Distribute: []locality.Distribute{{From: "*", To: map[string]uint32{"us-east1/*": 100}}}}}.Encode()
	require.NoError(t, err)
	require.Equal(t, []string{"192.0.2.3"}, set(good))
	for _, broken := range []string{"{", `{"Order": "sideways"}`, `[]`, strings.Repeat("[", 1<<16)} {
		require.Equal(t, []string{"192.0.2.3"}, set(broken))
	}
	require.Equal(t, []string{"192.0.2.2"}, set(""))
}

// Per-service rules: the first pattern that matches.
func TestPolicyOfAService(t *testing.T) {
	l := region(t, "west us-west1/us-west1-a 0/1", "near us-west1/us-west1-b 2/2", "east us-east1/x 2/2")
	p := newPlugin(l)
	l.route(t, locality.Routing{Services: []locality.Override{
		{Match: "m/*", Rules: locality.Rules{Distribute: []locality.Distribute{{From: "*", To: map[string]uint32{"nowhere": 100}}}}},
		{Match: "n/s*", Rules: locality.Rules{Distribute: []locality.Distribute{{From: "*", To: map[string]uint32{"us-east1": 100}}}}},
	}})
	require.Equal(t, []string{"192.0.2.3"}, rdata(t, p, "s.n.global.", dns.TypeA))
}

// Under distribute the own cluster is in a tier of another name, and still
// keeps its clients in its families.
func TestFamiliesUnderDistribute(t *testing.T) {
	table := demoTable(t)
	apply(t, table, cluster("west", westLocality), 6, service("n", "s", 1, 1, "10.1.0.77"))
	apply(t, table, cluster("six", centralLocality, gateway(1, "2001:db8::6")), 1, service("n", "s", 1, 1))
	l := newLink(table)
	l.route(t, locality.Routing{Rules: eighty})
	p := newPlugin(l)
	require.Equal(t, []string{"10.1.0.77"}, rdata(t, p, "s.n.global.", dns.TypeA))
	require.Empty(t, rdata(t, p, "s.n.global.", dns.TypeAAAA))

	// Where the rule sends nobody to the own cluster, there is no family to keep.
	apply(t, table, cluster("both", eastLocality, gateway(1, "192.0.2.7", "2001:db8::7")), 1, service("n", "s", 1, 1))
	l.route(t, locality.Routing{Rules: locality.Rules{Distribute: []locality.Distribute{{From: "*", To: map[string]uint32{"us-east1": 100}}}}})
	require.Equal(t, []string{"192.0.2.7"}, rdata(t, p, "s.n.global.", dns.TypeA))
	require.Equal(t, []string{"2001:db8::7"}, rdata(t, p, "s.n.global.", dns.TypeAAAA))
}

// clientWriter is a query's client.
type clientWriter struct {
	test.ResponseWriter
	addr net.Addr
}

func (w *clientWriter) RemoteAddr() net.Addr { return w.addr }

// A client keeps its cluster while others change, for both families, and only
// the clients of a cluster that leaves move.
func TestAffinity(t *testing.T) {
	lines := []string{"west us-west1/us-west1-a 0/1"}
	for i := range 5 {
		lines = append(lines, fmt.Sprintf("c%d us-east1/x 2/2", i))
	}
	l := region(t, lines...)
	l.route(t, locality.Routing{Rules: locality.Rules{Affinity: locality.AffinityClient}})
	p := newPlugin(l)
	const clients = 2000
	chosen := func(i int) string {
		var addr net.Addr = &net.UDPAddr{IP: net.IPv4(10, 1, byte(i>>8), byte(i)), Port: 1024 + i}
		if i%2 == 0 {
			addr = &net.TCPAddr{IP: net.IPv4(10, 1, byte(i>>8), byte(i)).To4(), Port: 5}
		}
		w := dnstest.NewRecorder(&clientWriter{addr: addr})
		_, err := p.ServeDNS(t.Context(), w, question("s.n.global.", dns.TypeA))
		require.NoError(t, err)
		return w.Msg.Answer[0].(*dns.A).A.String()
	}
	before, count := make([]string, clients), map[string]int{}
	for i := range clients {
		before[i] = chosen(i)
		count[before[i]]++
	}
	for _, n := range count {
		require.InDelta(t, clients/5, n, clients/20)
	}
	other := clusterRecord(*l.table.Records(), "c4")
	for n := range 1000 { // elsewhere: another service, another cluster's record, times
		apply(t, l.table, cluster("new", eastLocality, gateway(1, "198.51.100.1")), uint64(n+1), service("n", "other", uint32(n), 1000))
		l.probe(map[string]replica.GatewayState{"c0 192.0.2.2:443": upAfter(time.Duration(n+1) * time.Millisecond)})
		require.Equal(t, before[n], chosen(n))
	}
	apply(t, l.table, other, 2)
	moved := 0
	for i := range clients {
		switch now := chosen(i); {
		case before[i] == "192.0.2.6":
			require.NotEqual(t, before[i], now)
			moved++
		default:
			require.Equal(t, before[i], now)
		}
	}
	require.InDelta(t, clients/5, moved, clients/20)
}

func TestClientOf(t *testing.T) {
	want := netip.MustParseAddr("192.0.2.1")
	for _, addr := range []net.Addr{
		&net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, &net.TCPAddr{IP: net.IP{192, 0, 2, 1}, Port: 1}, textAddr("192.0.2.1:1"),
	} {
		require.Equal(t, locality.ClientHash(want), locality.ClientHash(clientOf(addr)))
	}
	for _, addr := range []net.Addr{nil, textAddr("@"), &net.UnixAddr{Name: "/x"}} {
		require.False(t, clientOf(addr).IsValid())
	}
}

type textAddr string

func (textAddr) Network() string  { return "text" }
func (a textAddr) String() string { return string(a) }

func TestWhyTellsWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(demoTable(t))
		l.heard = map[string]time.Time{"east": time.Now(), "central": time.Now().Add(-time.Minute)}
		apply(t, l.table, cluster("north", eastLocality, gateway(1, "192.0.2.1")), 1)
		l.heard["north"] = time.Now()
		l.probe(map[string]replica.GatewayState{
			"east 127.3.0.10:15443": upAfter(41234 * time.Microsecond), "central 127.2.0.10:15443": down,
		})
		p := newPlugin(l)
		p.view.outlook.sweep(time.Now())
		m, _ := ask(t, p, question("_why.payment-service.production.global.", dns.TypeTXT))
		require.Equal(t, []string{
			`east: in tier=3(other) weight=2 share=100% ready=2/2 gateway=127.3.0.10 up=up rtt=41.2ms age=0s rule="lowest tier with candidates"`,
			`central: out weight=0 ready=3/4 gateway=127.2.0.10 up=down rtt=- age=1m0s rule="silent and gateway down"`,
		}, texts(m))
		m, _ = ask(t, p, question("_clusters.global.", dns.TypeTXT))
		for i, want := range []string{"gateways=0/1", "gateways=1/1", "gateways=unknown/1", "gateways=unknown/1"} {
			require.True(t, strings.HasSuffix(texts(m)[i], want), texts(m)[i])
		}
	})
}

func TestOutlookMetrics(t *testing.T) {
	l := region(t, "west us-west1/us-west1-a 0/1", "a us-west1/us-west1-a 2/2", "b us-west1/us-west1-b 2/2", "c us-east1/x 2/2")
	l.hear(map[string]time.Duration{"a": 0, "b": 0, "c": time.Hour})
	l.probe(map[string]replica.GatewayState{
		"a 192.0.2.2:443": upAfter(time.Millisecond), "b 192.0.2.3:443": upAfter(20 * time.Millisecond), "b 192.0.2.3:80": upAfter(30 * time.Millisecond), "c 192.0.2.4:443": down,
	})
	r := newRegistry(linger)
	s := &sharedLink{link: l, outlook: newOutlook(l, newLogger()), holders: map[*holder]struct{}{{}: {}}}
	r.links[linkConfig{}] = s
	s.outlook.sweep(time.Now())
	reg := prometheus.NewPedanticRegistry()
	newMetrics(reg, r)
	got := exposition(t, reg)
	for _, line := range []string{
		`clusters{freshness="fresh"} 2`, `clusters{freshness="silent"} 1`, `clusters{freshness="frozen"} 0`,
		`gateway_addresses{state="up"} 3`, `gateway_addresses{state="down"} 1`,
		`gateway_rtt_seconds{distance="nearest"} 0.001`, `gateway_rtt_seconds{distance="farthest"} 0.02`,
	} {
		require.Contains(t, got, "coredns_isthmus_"+line+"\n")
	}
}
