package replica

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// pulling makes a replica in plain text that knows some peers.
func pulling(t *testing.T, cluster string, peers ...Peer) *Replica {
	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: cluster, Role: trust.Watcher})
	require.NoError(t, err)
	r, err := New(Config{Member: "w0." + cluster, Identity: identity, Table: discovery.NewTable()})
	require.NoError(t, err)
	r.Attach(&recorded{peers: peers})
	return r
}

// TestSourcesLeavePeersAsTheyAre: Peers may be shared.
func TestSourcesLeavePeersAsTheyAre(t *testing.T) {
	var peers []Peer
	for i := range 50 {
		peers = append(peers, Peer{Name: fmt.Sprintf("w0.c%d", i), Cluster: fmt.Sprintf("c%d", i)})
	}
	before := slices.Clone(peers)
	r := pulling(t, "west", peers...)
	require.Len(t, r.sources("c7", ""), len(peers))
	require.Equal(t, before, peers)
}
