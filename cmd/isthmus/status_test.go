package main

import (
	"bytes"
	"cmp"
	"io"
	"testing"

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
