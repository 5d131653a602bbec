package isthmus

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// explainerOf knows what a link knows.
func explainerOf(l *fakeLink) *Explainer {
	return NewExplainer(Knowledge{Table: l.table, View: l.View, Gateways: l.Gateways, Heard: l.Heard}, newLogger())
}

func whys(e *Explanation) (lines []string) {
	for _, c := range e.Candidates {
		lines = append(lines, c.Why)
	}
	return lines
}

// explain says what _why says, whatever there is to explain.
func TestExplainAgreesWithWhy(t *testing.T) {
	clusters := []string{"west us-west1/us-west1-a 1/4", "zone us-west1/us-west1-a 2/4", "region us-west1/us-west1-b 3/3", "central us-central1/a 9/9", "east us-east1/a 3/3"}
	const zone, next, central, east = "zone 192.0.2.2:443", "region 192.0.2.3:443", "central 192.0.2.4:443", "east 192.0.2.5:443"
	latency := locality.Rules{Order: locality.OrderLatency}
	tests := []struct {
		name   string
		rules  locality.Rules
		states map[string]replica.GatewayState
		silent []string
	}{
		{name: "nothing is known"},
		{name: "80/20", rules: eighty},
		{name: "80/20, one down", rules: eighty, states: map[string]replica.GatewayState{zone: down, central: up}},
		{name: "latency", rules: latency, states: map[string]replica.GatewayState{central: upAfter(40 * time.Millisecond), east: upAfter(5 * time.Millisecond), next: upAfter(120 * time.Millisecond)}},
		{name: "silent", silent: []string{"zone"}, states: map[string]replica.GatewayState{zone: up}},
		{name: "silent and down", silent: []string{"zone"}, states: map[string]replica.GatewayState{zone: down}},
		{name: "cut off", silent: []string{"zone", "region", "central", "east"}},
		{name: "affinity", rules: locality.Rules{Affinity: locality.AffinityClient}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := region(t, clusters...)
				l.route(t, locality.Routing{Rules: tc.rules})
				l.probe(tc.states)
				heard := map[string]time.Duration{"zone": 0, "region": 0, "central": 0, "east": 0}
				for _, name := range tc.silent {
					heard[name] = time.Minute
				}
				l.hear(heard)
				p, x := newPlugin(l), explainerOf(l)
				p.view.outlook.sweep(time.Now())
				x.outlook.sweep(time.Now())
				for _, name := range []string{"s.n", "S.N.global.", "_why.s.n.global"} {
					e, err := x.Explain(Question{Name: name})
					require.NoError(t, err)
					m, _ := ask(t, p, question("_why.s.n.global.", dns.TypeTXT))
					require.Equal(t, texts(m), whys(e))
				}
				// As a stanza that has a locality, in a cluster there.
				e, err := x.Explain(Question{Name: "s.n", From: "east"})
				require.NoError(t, err)
				require.Equal(t, Viewer{Cluster: "east", Locality: "us-east1/a", Elsewhere: true}, e.Viewer)
				require.Equal(t, "own", e.Candidates[candidateOf(t, e, "east")].Tier)
			})
		})
	}
}

func candidateOf(t *testing.T, e *Explanation, cluster string) int {
	for i := range e.Candidates {
		if e.Candidates[i].Cluster == cluster {
			return i
		}
	}
	require.Fail(t, "no candidate", cluster)
	return -1
}

// What if a cluster were drained: what remains is what would be answered if it
// were not there.
func TestExplainWithout(t *testing.T) {
	x := explainerOf(region(t, "west us-west1/us-west1-a 0/4", "zone us-west1/us-west1-a 2/2", "central us-central1/a 9/9"))
	without := func(names ...string) map[string]float64 {
		e, err := x.Explain(Question{Name: "s.n", Without: names})
		require.NoError(t, err)
		got := map[string]float64{}
		for _, c := range e.Candidates {
			if c.State == "in" {
				got[c.Cluster] = c.Share
			}
		}
		return got
	}
	require.Equal(t, map[string]float64{"zone": 1}, without())
	require.Equal(t, map[string]float64{"central": 1}, without("zone"))
	require.Empty(t, without("zone", "central"))
	for name, want := range map[string]string{
		"zoe":                           `without "zoe": no such cluster, did you mean "zone"?`,
		"tokyo":                         `without "tokyo": no such cluster`,
		"":                              `without "": no such cluster`,
		"w\nest":                        `without "w\nest": no such cluster, did you mean "west"?`,
		strings.Repeat("\x00", 1000):    `without "` + strings.Repeat(`\x00`, 63) + `": no such cluster`,
		"central.svc.cluster.local":     `without "central.svc.cluster.local": no such cluster`,
		"us-central1/us-central1-a-b-c": `without "us-central1/us-central1-a-b-c": no such cluster`,
	} {
		_, err := x.Explain(Question{Name: "s.n", Without: []string{"zone", name}})
		require.ErrorIs(t, err, ErrQuestion)
		require.EqualError(t, err, want)
	}
}

// A client is told what it is answered.
func TestExplainClient(t *testing.T) {
	l := region(t, "west us-west1/us-west1-a 0/4", "a us-east1/a 2/2", "b us-east1/a 2/2", "c us-east1/a 2/2")
	l.route(t, locality.Routing{Rules: locality.Rules{Affinity: locality.AffinityClient}})
	p, x := newPlugin(l), explainerOf(l)
	for range 20 {
		client := addrs("10.240.0.1", "10.1.2.3", "2001:db8::1")
		for _, addr := range client {
			e, err := x.Explain(Question{Name: "s.n", Client: addr})
			require.NoError(t, err)
			a := p.view.answers(l.table.Lookup("s.n"), l.View())
			require.Equal(t, a.candidates[a.v4.PickFor(locality.ClientHash(addr))].Cluster, e.Client.Cluster)
		}
	}
}

// Where clusters have one family each, a client has a cluster for each.
func TestExplainClientInTwoFamilies(t *testing.T) {
	table := demoTable(t)
	for i, gates := range [][]string{{"192.0.2.4"}, {"192.0.2.5"}, {"2001:db8::6"}, {"2001:db8::7", "192.0.2.7"}} {
		apply(t, table, cluster(fmt.Sprint("c", i), eastLocality, gateway(443, gates...)), 1, service("n", "s", 1, 1))
	}
	l := newLink(table)
	l.route(t, locality.Routing{Rules: locality.Rules{Affinity: locality.AffinityClient}})
	p, x := newPlugin(l), explainerOf(l)
	a := p.view.answers(l.table.Lookup("s.n"), l.View())
	differ := 0
	for i := range 50 {
		client := netip.AddrFrom4([4]byte{10, 1, 2, byte(i)})
		e, err := x.Explain(Question{Name: "s.n", Client: client})
		require.NoError(t, err)
		v4, v6 := a.candidates[a.v4.PickFor(locality.ClientHash(client))].Cluster, a.candidates[a.v6.PickFor(locality.ClientHash(client))].Cluster
		if v4 == v6 {
			v6 = ""
		} else {
			differ++
		}
		require.Equal(t, &Client{Address: client, Cluster: v4, ClusterIPv6: v6}, e.Client)
	}
	require.Positive(t, differ)
	// With one family only there is one.
	for i := range 2 {
		table.Drop(fmt.Sprint("c", i))
	}
	table.Drop("c3")
	e, err := x.Explain(Question{Name: "s.n", Client: addrs("10.1.2.3")[0]})
	require.NoError(t, err)
	require.Equal(t, &Client{Address: addrs("10.1.2.3")[0], Cluster: "c2"}, e.Client)
}

func TestExplainErrors(t *testing.T) {
	l := region(t, "west us-west1/us-west1-a 0/4")
	x := explainerOf(l)
	apply(t, l.table, cluster("east", eastLocality), 1, service("production", "user-service", 1, 1), service("production", "orders", 1, 1), service("test", "payments", 1, 1))
	for name, want := range map[string]string{
		"x.y.global":                       `service "x.y.global": no cluster exports it`,
		"s.m":                              `service "s.m": no cluster exports it, did you mean "s.n"?`,
		"s.m.global.":                      `service "s.m.global.": no cluster exports it, did you mean "s.n"?`,
		"user-servce.production":           `service "user-servce.production": no cluster exports it, did you mean "user-service.production"?`,
		"_why.User-Servce.production.":     `service "_why.User-Servce.production.": no cluster exports it, did you mean "user-service.production"?`,
		"payments.production":              `service "payments.production": no cluster exports it, did you mean "payments.test"?`,
		"nobody.production":                `service "nobody.production": no cluster exports it`,
		"." + strings.Repeat("x.", 500):    `service ".` + strings.Repeat("x.", 127) + `": no cluster exports it`,
		"a." + strings.Repeat("x", 252):    `service "a.` + strings.Repeat("x", 252) + `": no cluster exports it`,
		"west.production\x00.global\u2028": `service "west.production\x00.global\u2028": no cluster exports it`,
	} {
		_, err := x.Explain(Question{Name: name})
		require.ErrorIs(t, err, ErrUnknownService, "%.20q", name)
		require.EqualError(t, err, want)
	}
	for _, name := range []string{"", ".", "x", "_why.x", string(make([]byte, 1000))} {
		_, err := x.Explain(Question{Name: name})
		require.ErrorIs(t, err, ErrQuestion, "%.20q", name)
		require.ErrorContains(t, err, `": want NAME.NAMESPACE, with or without a zone, or an alias`)
	}
	_, err := x.Explain(Question{Name: "s.n", From: "a/b/c/d"})
	require.ErrorIs(t, err, ErrQuestion)
	require.ErrorContains(t, err, `from "a/b/c/d": want a cluster or REGION[/ZONE[/SUBZONE]]: `)
	l.view.Store(nil)
	_, err = x.Explain(Question{Name: "s.n"})
	require.ErrorIs(t, err, ErrNotLoaded)
}

// A place that is no cluster's is answered by gateways alone, and those of the
// own cluster's kind are fit there too.
func TestExplainFromNowhere(t *testing.T) {
	x := explainerOf(newLink(demoTable(t)))
	e, err := x.Explain(Question{Name: "user-service.production", From: "us-west1/us-west1-z"})
	require.NoError(t, err)
	require.Equal(t, Viewer{Locality: "us-west1/us-west1-z", Elsewhere: true}, e.Viewer)
	require.Equal(t, discovery.Locality{Region: "us-west1", Zone: "us-west1-a"}.String(), e.Candidates[0].Locality)
	require.Equal(t, "gateway", e.Candidates[0].Way)
}
