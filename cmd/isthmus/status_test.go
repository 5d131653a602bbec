package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/api"
)

// TestStatusOfDenied: a cluster that is not imported is seen as one that has
// watchers, and nothing else.
func TestStatusOfDenied(t *testing.T) {
	s := api.Status{
		Clusters: []api.Cluster{
			{Name: "east", Epoch: 1, Seq: 4, AgeSeconds: &[]int64{95}[0], Services: 1, Gateways: 2},
			{Name: "west", Epoch: 2, Seq: 1, Services: 3},
		},
		Members: []api.Member{{Name: "w0.west", Cluster: "west"}, {Name: "c0.central", Cluster: "central"}, {Name: "c1.central", Cluster: "central"}},
	}
	var out bytes.Buffer
	require.NoError(t, show(&out, "table", s, func(w io.Writer) { statusTable(w, s) }))
	require.Regexp(t, `(?m)^east +- +- +1\.4 +1m35s +1 +unknown/2 +- +0$`, out.String())
	require.Regexp(t, `(?m)^west +- +- +2\.1 +unknown +3 +unknown/0 +- +1$`, out.String())
	require.Regexp(t, `(?m)^central +- +- +- +- +- +- +- +2$`, out.String())
}

func TestStatusOfGateways(t *testing.T) {
	for want, c := range map[string]api.Cluster{
		"unknown/3 -":         {Gateways: 3},
		"unknown/2 -":         {Gateways: 2, Checked: &api.Checked{Unknown: 2}},
		"unknown/0 -":         {},
		"2/3 41.2ms":          {Gateways: 3, Checked: &api.Checked{Up: 2, Down: 1, RTTSeconds: .0411999}},
		"0/1 -":               {Gateways: 1, Checked: &api.Checked{Down: 1}},
		"1/3,unknown=1 230µs": {Gateways: 3, Checked: &api.Checked{Up: 1, Down: 1, Unknown: 1, RTTSeconds: .00023}},
	} {
		require.Equal(t, want, gatewaysUp(c)+" "+cmp.Or(rtt(c), "-"))
	}
}

// TestStatusOfConfiguration: what is in force, and what of the file is not.
func TestStatusOfConfiguration(t *testing.T) {
	table := func(c api.Config) string {
		var out bytes.Buffer
		s := api.Status{Config: c}
		require.NoError(t, show(&out, "table", s, func(w io.Writer) { statusTable(w, s) }))
		return out.String()
	}
	loaded := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	got := table(api.Config{Loaded: loaded, Routing: "default", Health: "every 5s"})
	require.Contains(t, got, "publishes: false\nrouting: default\ngateway checks: every 5s\nconfiguration: of 2026-01-02 03:04:05 UTC\n\n")
	got = table(api.Config{Loaded: loaded, Errors: []string{"w.yaml:3: a", "w.yaml:4: b"}, Restart: []string{"http", "tls"}})
	require.Contains(t, got, "03:04:05 UTC\n  not taken: w.yaml:3: a\n  not taken: w.yaml:4: b\n  needs a restart: http, tls\n\n")
	require.NotContains(t, table(api.Config{}), "configuration", "of a watcher that doesn't tell")
}

// TestStatusOfOverlaps: who overlaps with whom, where, and what to do; no line
// where nobody does.
func TestStatusOfOverlaps(t *testing.T) {
	table := func(o *api.Overlaps) string {
		var out bytes.Buffer
		s := api.Status{Overlaps: o}
		require.NoError(t, show(&out, "table", s, func(w io.Writer) { statusTable(w, s) }))
		return out.String()
	}
	require.NotContains(t, table(nil), "network ")
	pair := func(name string) api.Overlap {
		return api.Overlap{Network: "vpc-1", Claims: [2]api.Claim{
			{Cluster: "east", Use: "pods", Prefix: netip.MustParsePrefix("10.244.0.0/16")},
			{Cluster: name, Use: "services", Prefix: netip.MustParsePrefix("10.244.8.0/24")},
		}}
	}
	got := table(&api.Overlaps{Pairs: 1, Listed: []api.Overlap{pair("west")}})
	require.Contains(t, got, "\nclusters of one network with the same addresses: 1, give them different networks in watcher.yaml, or none\n"+
		"  network vpc-1: east (pods 10.244.0.0/16) and west (services 10.244.8.0/24)\n\n")
	var many []api.Overlap
	for i := range 25 {
		many = append(many, pair(fmt.Sprintf("w%02d", i)))
	}
	got = table(&api.Overlaps{Pairs: 3000, Listed: many})
	require.Contains(t, got, "addresses: 3000, ")
	require.Contains(t, got, "and w09 (services 10.244.8.0/24)\n  and 2990 more\n\n")
}
