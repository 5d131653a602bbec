package kube

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// TestNetworksGiveWayToGateways: a cluster's record that has no room for both
// keeps what answers are made of.
func TestNetworksGiveWayToGateways(t *testing.T) {
	for name, test := range map[string]struct{ hosts, networks int }{
		"room":    {8, 1},
		"no room": {60, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatch(t)
			w.source.cfg.Gateways = func() []export.SetEntry {
				var out []export.SetEntry
				for i := range test.hosts {
					host := fmt.Sprintf("h%03d.%0250d", i, 0)
					out = append(out, export.SetEntry{Set: "default", Gateway: discovery.Gateway{Hostname: host, Kind: discovery.GatewayStatic}})
				}
				return out
			}
			require.NoError(t, w.informers.nodes.GetIndexer().Add(fullNode()))
			record := w.clusterRecord()
			require.Len(t, record.GatewaySets[0].Gateways, test.hosts)
			require.Len(t, record.PodCIDRs, test.networks)
		})
	}
}
