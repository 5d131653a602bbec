package replica

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// pulling makes a replica in plain text that knows some peers.
func pulling(t *testing.T, cluster string, dial Dialer, peers ...Peer) *Replica {
	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: cluster, Role: trust.Watcher})
	require.NoError(t, err)
	r, err := New(Config{Member: "w0." + cluster, Identity: identity, Table: discovery.NewTable(), Dial: dial})
	require.NoError(t, err)
	r.Attach(&recorded{peers: peers})
	return r
}

// announceEmpty gives a replica the empty part of a cluster.
func announceEmpty(t *testing.T, r *Replica, cluster string, seq uint64) {
	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: cluster, Role: trust.Watcher})
	require.NoError(t, err)
	h, err := sign(identity, &wire.Head{Clusterset: "test", Cluster: cluster, Uid: "uid-" + cluster, Epoch: 1, Seq: seq, Root: emptyPart.root[:]})
	require.NoError(t, err)
	_, _, err = r.store.adopt(cluster, &pulled{head: h.signed}, emptyPart)
	require.NoError(t, err)
}

// TestPullsShareAConnection: a watcher that starts pulls hundreds of parts, and
// connecting costs more than most of them.
func TestPullsShareAConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var dials atomic.Int64
	dial := func(ctx context.Context, to Peer) (net.Conn, error) {
		dials.Add(1)
		return (&net.Dialer{}).DialContext(ctx, "tcp", to.Addr)
	}
	east := pulling(t, "east", nil)
	west := pulling(t, "west", dial, Peer{Name: "w0.east", Cluster: "east", Addr: l.Addr().String()})
	const clusters = 40
	for i := range clusters {
		announceEmpty(t, east, fmt.Sprintf("c%d", i), 1)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = east.Serve(ctx, l) })
	done.Go(func() { _ = west.Run(ctx) })
	defer func() { cancel(); done.Wait() }()
	west.HandleDigest(east.Digest())
	require.Eventually(t, func() bool { return len(west.config.Table.Clusters()) == clusters }, 30*time.Second, time.Millisecond)
	require.Less(t, dials.Load(), int64(clusters)/4)
}

// TestSourcesLeavePeersAsTheyAre: Peers may be shared.
func TestSourcesLeavePeersAsTheyAre(t *testing.T) {
	var peers []Peer
	for i := range 50 {
		peers = append(peers, Peer{Name: fmt.Sprintf("w0.c%d", i), Cluster: fmt.Sprintf("c%d", i)})
	}
	before := slices.Clone(peers)
	r := pulling(t, "west", nil, peers...)
	require.Len(t, r.sources("c7", ""), len(peers))
	require.Equal(t, before, peers)
}
