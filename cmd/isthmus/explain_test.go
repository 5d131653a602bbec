package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/plugin/isthmus"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

var update = flag.Bool("update", false, "write the golden files anew")

// worldOf is a table with one service shop.web, seen from west:
//
//	NAME LOCALITY READY/TOTAL [up|down|RTT] [silent]
type worldOf struct {
	table    *discovery.Table
	view     *replica.View
	gateways map[string]map[replica.GatewayAddress]replica.GatewayState
	heard    map[string]time.Time
}

func world(t *testing.T, routing locality.Routing, lines string) *worldOf {
	text, err := routing.Encode()
	require.NoError(t, err)
	w := &worldOf{
		table: discovery.NewTable(), heard: map[string]time.Time{}, gateways: map[string]map[replica.GatewayAddress]replica.GatewayState{},
		view: &replica.View{Cluster: "west", Locality: discovery.Locality{Region: "us-west1", Zone: "us-west1-a"}, Routing: text},
	}
	for i, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		fields := strings.Fields(line)
		where, err := discovery.ParseLocality(fields[1])
		require.NoError(t, err)
		s := &discovery.Service{
			Namespace: "shop", Name: "web", Kind: discovery.KindClusterIP, ClusterIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 96, 0, byte(i)})},
			Ports: []discovery.Port{{Name: "http", Protocol: discovery.TCP, Port: 80}}, Counts: make([]discovery.ZoneCount, 1),
			Aliases: []string{"web.example"},
		}
		_, err = fmt.Sscanf(fields[2], "%d/%d", &s.Counts[0].Ready, &s.Counts[0].Total)
		require.NoError(t, err)
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), 443)
		w.heard[fields[0]] = time.Now()
		for _, option := range fields[3:] {
			state := replica.GatewayState{Known: true, Up: option != "down"}
			switch option {
			case "silent":
				w.heard[fields[0]] = time.Now().Add(-time.Minute)
				continue
			case "up", "down":
			default:
				state.RTT, err = time.ParseDuration(option)
				require.NoError(t, err)
			}
			w.gateways[fields[0]] = map[replica.GatewayAddress]replica.GatewayState{{AddrPort: at, Check: discovery.CheckTCP}: state}
		}
		c := &discovery.Cluster{Name: fields[0], UID: fields[0], Locality: where, GatewaySets: []discovery.GatewaySet{{
			Name: discovery.DefaultGatewaySet, Gateways: []discovery.Gateway{{Addresses: []netip.Addr{at.Addr()}, Port: 443, Kind: discovery.GatewayStatic}},
		}}}
		w.table.Apply(c.Name, discovery.Update{Cluster: c, Whole: true, Services: []*discovery.Service{s}}, discovery.Version{Epoch: 1})
	}
	return w
}

// explainer runs until the test ends.
func (w *worldOf) explainer(t *testing.T) *isthmus.Explainer {
	states := replica.NewGatewayStates(w.gateways)
	x := isthmus.NewExplainer(isthmus.Knowledge{
		Table: w.table, View: func() *replica.View { return w.view }, Gateways: func() *replica.GatewayStates { return states },
		Heard: func(cluster string) (time.Time, bool) { at, ok := w.heard[cluster]; return at, ok },
	}, slog.New(slog.DiscardHandler))
	go func() { _ = x.Run(t.Context()) }()
	synctest.Wait()
	return x
}

// Each output is told as people get it, so that a change of any rule or word is
// seen in the review of these files.
func TestExplanations(t *testing.T) {
	const clusters = `
		west us-west1/us-west1-a 1/4
		zone us-west1/us-west1-a 2/4 up
		region us-west1/us-west1-b 3/3 up
		central us-central1/us-central1-a 9/9 40ms
		east us-east1/us-east1-b 3/3 5ms`
	failover := locality.Rules{
		Failover:   []locality.Failover{{From: "us-west1", To: []string{"us-central1"}}},
		Distribute: []locality.Distribute{{From: "us-west1/*", To: map[string]uint32{"us-west1/*": 80, "us-central1/*": 20}}},
	}
	far := "west us-west1/us-west1-a 0/4\ncentral us-central1/us-central1-a 9/9 %s\neast us-east1/us-east1-b 3/3 %s\ntokyo asia/tokyo 2/2 %s"
	tests := []struct {
		file      string
		routing   locality.Routing
		clusters  string
		questions []isthmus.Question
	}{
		{"spill", locality.Routing{}, clusters, []isthmus.Question{
			{Name: "web.shop"},
			{Name: "WEB.shop.global.", Without: []string{"west", "region"}},
			{Name: "web.example", From: "us-east1/us-east1-b"},
			{Name: "web.shop", From: "us-east1/us-east1-c"},
			{Name: "web.shop", From: "central", Client: netip.MustParseAddr("10.1.2.3")},
		}},
		{"distribute", locality.Routing{Rules: failover}, clusters, []isthmus.Question{
			{Name: "web.shop"},
			{Name: "web.shop", Without: []string{"west", "zone", "region"}},
			{Name: "web.shop", Without: []string{"west", "zone", "region", "central"}},
		}},
		{"latency", locality.Routing{Rules: locality.Rules{Order: locality.OrderLatency}}, fmt.Sprintf(far, "40ms", "5ms", "120ms"), []isthmus.Question{
			{Name: "web.shop"}, {Name: "web.shop", Without: []string{"east"}},
		}},
		{"down", locality.Routing{}, fmt.Sprintf(far, "down", "up", "down"), []isthmus.Question{{Name: "web.shop"}, {Name: "web.shop", Without: []string{"east"}}}},
		{"silent", locality.Routing{}, strings.Replace(clusters, "4 up", "4 up silent", 1), []isthmus.Question{{Name: "web.shop"}}},
		{"silent_and_down", locality.Routing{}, fmt.Sprintf(far, "down silent", "down", "up"), []isthmus.Question{
			{Name: "web.shop"}, {Name: "web.shop", Without: []string{"tokyo"}}, {Name: "web.shop", Without: []string{"tokyo", "east"}},
		}},
		{"cut_off", locality.Routing{}, fmt.Sprintf(far, "up silent", "up silent", "down silent"), []isthmus.Question{{Name: "web.shop"}}},
		{"affinity", locality.Routing{Rules: locality.Rules{Affinity: locality.AffinityClient}}, fmt.Sprintf(far, "up", "up", "up"), []isthmus.Question{
			{Name: "web.shop", Client: netip.MustParseAddr("10.1.2.3")}, {Name: "web.shop", Client: netip.MustParseAddr("10.1.2.7")}, {Name: "web.shop", Client: netip.MustParseAddr("2001:db8::9")},
		}},
	}
	for _, tc := range tests {
		t.Run(tc.file, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := world(t, tc.routing, tc.clusters).explainer(t)
				var out bytes.Buffer
				for _, q := range tc.questions {
					e, err := x.Explain(q)
					require.NoError(t, err)
					require.NoError(t, show(&out, "table", e, func(w io.Writer) { explanationTable(w, e) }))
					out.WriteByte('\n')
				}
				e, err := x.Explain(tc.questions[0])
				require.NoError(t, err)
				golden(t, tc.file+".txt", out.Bytes())
				out.Reset()
				require.NoError(t, show(&out, "json", e, nil))
				golden(t, tc.file+".json", out.Bytes())
			})
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", "explain", name)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}
