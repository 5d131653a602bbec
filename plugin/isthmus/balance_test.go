package isthmus

import (
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// 64 clients ask a real server over UDP: what each cluster gets is within a
// point of what Envoy's algorithm gives it, and for SRV the order that clients
// see is within a point of the weights inside the first tier.
// ISTHMUS_SOAK asks 100,000 times for each service; else it is so few that
// chance needs three points.
func TestBalanceOverUDP(t *testing.T) {
	const clients = 64
	queries, within := 8000, 0.03
	if os.Getenv("ISTHMUS_SOAK") != "" {
		queries, within = 100_000, 0.01
	}
	lines := func(own, next, far, last string) []string {
		return []string{"west us-west1/us-west1-a " + own, "next us-west1/us-west1-b " + next, "east us-east1/a " + far, "last asia/b " + last}
	}
	tests := []struct {
		name    string
		lines   []string
		rules   locality.Rules
		states  map[string]replica.GatewayState
		want    []float64 // percent, by the order of lines
		wantSRV []float64 // first record
	}{
		{"enough of the own", lines("3/4", "3/3", "9/9", "1/1"), locality.Rules{}, nil, []float64{100, 0, 0, 0}, []float64{100, 0, 0, 0}},
		{"spill", lines("2/4", "3/3", "9/9", "1/1"), locality.Rules{}, nil, []float64{70, 30, 0, 0}, []float64{100, 0, 0, 0}},
		{"spill twice", lines("1/4", "1/4", "9/9", "1/1"), locality.Rules{}, nil, []float64{35, 35, 27, 3}, []float64{100, 0, 0, 0}},
		{"not enough", lines("1/7", "3/14", "0/3", "0/1"), locality.Rules{}, nil, []float64{40, 60, 0, 0}, []float64{100, 0, 0, 0}},
		{"one tier", lines("0/4", "0/4", "3/3", "1/1"), locality.Rules{}, nil, []float64{0, 0, 75, 25}, []float64{0, 0, 75, 25}},
		{
			"a gateway down", lines("0/4", "5/5", "5/5", "5/5"),
			locality.Rules{},
			map[string]replica.GatewayState{"next 192.0.2.2:443": down, "last 192.0.2.4:443": down},
			[]float64{0, 0, 100, 0},
			[]float64{0, 0, 100, 0},
		},
		{
			"distribute",
			[]string{"west us-west1/us-west1-a 1/1", "next us-west1/us-west1-b 3/3", "east us-central1/a 9/9", "last asia/b 9/9"},
			eighty, nil,
			[]float64{20, 60, 20, 0},
			[]float64{20, 60, 20, 0},
		},
		{"affinity", lines("0/4", "0/4", "3/3", "1/1"), locality.Rules{Affinity: locality.AffinityClient}, nil, nil, []float64{0, 0, 75, 25}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			o := replaceOpen(t)
			l := region(t, tc.lines...)
			l.route(t, locality.Routing{Rules: tc.rules})
			l.probe(tc.states)
			o.link = func(linkConfig) *fakeLink { return l }
			i := start(t, "global.:0 {\n bind 127.0.0.1\n bufsize 1232\n isthmus {\n watcher 127.0.0.1:1\n insecure\n }\n}\n")
			udp, _ := ports(i.Load())

			byAddr := map[string]int{"10.1.0.1": 0, "192.0.2.2": 1, "192.0.2.3": 2, "192.0.2.4": 3}
			got, perClient := countFirst(t, udp, clients, queries, question("s.n.global.", dns.TypeA), func(rr dns.RR) int {
				return byAddr[rr.(*dns.A).A.String()]
			})
			if tc.want == nil {
				for _, seen := range perClient {
					require.Len(t, slices.DeleteFunc(slices.Clone(seen), func(n int) bool { return n == 0 }), 1, "a client keeps its cluster")
				}
			}
			for c, want := range tc.want {
				require.InDelta(t, want/100, float64(got[c])/float64(sum(got)), within, "A: %s", tc.lines[c])
				require.Equal(t, want > 0, got[c] > 0, tc.lines[c])
			}
			byTarget := map[string]int{}
			for c, line := range tc.lines {
				var name string
				_, _ = fmt.Sscan(line, &name)
				byTarget[name+".s.n.global."] = c
			}
			got, _ = countFirst(t, udp, clients, queries, question("_http._tcp.s.n.global.", dns.TypeSRV), func(rr dns.RR) int {
				return byTarget[rr.(*dns.SRV).Target]
			})
			for c, want := range tc.wantSRV {
				require.InDelta(t, want/100, float64(got[c])/float64(sum(got)), within, "SRV: %s", tc.lines[c])
			}
		})
	}
}

func sum(n []int) (all int) {
	for _, k := range n {
		all += k
	}
	return all
}

// countFirst asks from so many addresses of loopback at a time, and counts the
// first records of the answers by a number below 4.
func countFirst(t *testing.T, server string, clients, queries int, q *dns.Msg, which func(dns.RR) int) (all []int, perClient [][]int) {
	t.Helper()
	var mu sync.Mutex
	all = make([]int, 4)
	var g errgroup.Group
	for i := range clients {
		g.Go(func() error {
			seen := make([]int, 4)
			dialer := &net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 1, byte(i+1))}}
			client := &dns.Client{Dialer: dialer, Timeout: 10 * time.Second}
			conn, err := client.Dial(server)
			if err != nil {
				return err
			}
			defer conn.Close()
			for range queries / clients {
				m, _, err := client.ExchangeWithConn(q.Copy(), conn)
				if err != nil {
					return err
				}
				if len(m.Answer) == 0 {
					return fmt.Errorf("an empty answer: %v", m)
				}
				seen[which(m.Answer[0])]++
			}
			mu.Lock()
			defer mu.Unlock()
			for c, n := range seen {
				all[c] += n
			}
			perClient = append(perClient, seen)
			return nil
		})
	}
	require.NoError(t, g.Wait())
	return all, perClient
}

// A service's SRV weights are the shares of its clusters inside a tier, for the
// counts and policies that A is tested with.
func TestSRVWeightsFollowThePolicy(t *testing.T) {
	l := region(t, "west us-west1/us-west1-a 1/1", "next us-west1/us-west1-b 3/3", "central us-central1/a 9/9", "east us-east1/a 9/9")
	l.route(t, locality.Routing{Rules: eighty})
	m, _ := ask(t, newPlugin(l), question("s.n.global.", dns.TypeSRV))
	got := map[string][2]uint16{}
	for _, rr := range m.Answer {
		srv := rr.(*dns.SRV)
		got[srv.Target] = [2]uint16{srv.Priority, srv.Weight}
	}
	require.Equal(t, map[string][2]uint16{
		"west.s.n.global.": {0, 2000}, "next.s.n.global.": {0, 6000}, "central.s.n.global.": {0, 2000}, "east.s.n.global.": {5, 9},
	}, got)
}
