package watch

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/replica"
)

// membership is a pool that has only members.
type membership []gossip.Member

func (m *membership) Send(string, []byte) error { return nil }
func (m *membership) Members() []gossip.Member  { return *m }

// TestPeersAreListedOnce: the list is asked for with each message, and made when
// members or the ways to siblings change.
func TestPeersAreListedOnce(t *testing.T) {
	members := membership{{Name: "w0.east", Cluster: "east", Addr: "10.0.0.1:1", Self: true}, {Name: "w1.east", Cluster: "east", Addr: "10.0.0.9:1"}}
	for i := range 3000 {
		members = append(members, gossip.Member{Name: fmt.Sprintf("w0.c%d", i), Cluster: fmt.Sprint("c", i), Addr: "10.1.0.1:1"})
	}
	ways := map[string]string{}
	n := &network{pool: &members, sibling: func(name string) string { return ways[name] }, cluster: "east"}
	list := n.Peers()
	require.Len(t, list, len(members)-1, "without ourselves")
	require.Equal(t, replica.Peer{Name: "w1.east", Cluster: "east", Addr: "10.0.0.9:1"}, list[0])
	require.Zero(t, testing.AllocsPerRun(100, func() { n.Peers() }))

	ways["w1.east"] = "10.244.0.2:1"
	require.Equal(t, "10.244.0.2:1", n.Peers()[0].Addr)
	require.Equal(t, "10.0.0.9:1", list[0].Addr, "others may still read it")
	delete(ways, "w1.east")
	require.Equal(t, "10.0.0.9:1", n.Peers()[0].Addr)

	members = append(membership{}, members[:2]...)
	require.Len(t, n.Peers(), 1)
	members = nil
	require.Empty(t, n.Peers())
}
