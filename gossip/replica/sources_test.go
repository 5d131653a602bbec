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
	require.Len(t, r.sources("nobody", ""), len(peers))
	require.Equal(t, before, peers)
}

// TestSourcesComeAgain: who must have a part is asked again soon, however many
// peers there are.
func TestSourcesComeAgain(t *testing.T) {
	peers := []Peer{{Name: "w0.c7", Cluster: "c7"}, {Name: "w1.c7", Cluster: "c7"}, {Name: "w2.c7", Cluster: "c7"}}
	for i := range 100 {
		peers = append(peers, Peer{Name: fmt.Sprint("w0.other", i), Cluster: fmt.Sprint("other", i)})
	}
	p := newPKI(t)
	r, err := New(Config{Member: "w0.west", Identity: p.identity("west", trust.Watcher), Table: discovery.NewTable()})
	require.NoError(t, err)
	r.Attach(&recorded{peers: peers})
	for hint, want := range map[string][]string{
		"w1.c7":     {"w1.c7", "c7", "c7", "", "", "", "w1.c7"},
		"w0.other5": {"w0.other5", "c7", "c7", "c7", "", "", "", "c7"},
		"":          {"c7", "c7", "c7", "", "", "", "c7"},
	} {
		for attempt, want := range want {
			got, ok := r.source("c7", hint, attempt)
			require.True(t, ok)
			if want == "" {
				require.NotEqual(t, "c7", got.Cluster)
				require.NotEqual(t, hint, got.Name)
			} else {
				require.Contains(t, []string{got.Name, got.Cluster}, want, "attempt %d", attempt)
			}
		}
	}
	require.Len(t, r.sources("unknown", ""), len(peers), "anyone may have it")
}
