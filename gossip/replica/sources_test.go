package replica

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// TestSourcesLeavePeersAsTheyAre: what Peers gives may be shared.
func TestSourcesLeavePeersAsTheyAre(t *testing.T) {
	var peers []Peer
	for i := range 50 {
		peers = append(peers, Peer{Name: fmt.Sprintf("w0.c%d", i), Cluster: fmt.Sprintf("c%d", i)})
	}
	before := slices.Clone(peers)
	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "west", Role: trust.Watcher})
	require.NoError(t, err)
	r, err := New(Config{Member: "w0.west", Identity: identity, Table: discovery.NewTable()})
	require.NoError(t, err)
	r.Attach(&recorded{peers: peers})
	require.Len(t, r.sources("c7", ""), len(peers))
	require.Equal(t, before, peers)
}
