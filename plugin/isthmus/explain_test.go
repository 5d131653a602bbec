package isthmus

import (
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
	_, err := x.Explain(Question{Name: "s.n", Without: []string{"zoe"}})
	require.ErrorIs(t, err, ErrQuestion)
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

func TestExplainErrors(t *testing.T) {
	l := region(t, "west us-west1/us-west1-a 0/4")
	x := explainerOf(l)
	for _, name := range []string{"", ".", "x", "x.y.global", "s.m", string(make([]byte, 1000))} {
		_, err := x.Explain(Question{Name: name})
		require.ErrorIs(t, err, ErrUnknownService, "%.20q", name)
	}
	_, err := x.Explain(Question{Name: "s.n", From: "a/b/c/d"})
	require.ErrorIs(t, err, ErrQuestion)
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
