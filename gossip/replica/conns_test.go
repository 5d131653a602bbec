package replica

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// TestPullsShareAConnection: the pulls of a starting watcher take one
// handshake, and the connection ends with the member.
func TestPullsShareAConnection(t *testing.T) {
	source := alone(t, "central")
	var names []string
	for i := range 20 {
		o := owns(t, fmt.Sprintf("c%03d", i), &wire.Head{Epoch: 1, Seq: 1}, service("user", 1))
		bring(t, source, o.head, o.content)
		names = append(names, o.head.Cluster)
	}
	r, l := between(t, map[string]*Replica{"w0.central": source})
	running(t, r.puller)
	for _, name := range names {
		r.puller.want(name, discovery.Version{Epoch: 1, Seq: 1})
	}
	eventually(t, "all parts", func() bool { return len(r.config.Table.Clusters()) == len(names) })
	require.Equal(t, 1, l.dials)
	require.Len(t, r.conns.byMember, 1)
	n := (*r.network.Load()).(*recorded)
	n.peers = nil
	r.PeersChanged()
	require.Empty(t, r.conns.byMember)
}

// pool makes conns that dial nowhere.
func pool() *conns {
	return newConns(func(p Peer) (*grpc.ClientConn, error) {
		return grpc.NewClient("passthrough:///"+p.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return nil, errors.New("nowhere") }))
	})
}

func shut(p *pooled) bool { return p.GetState() == connectivity.Shutdown }

func TestConnectionsEnd(t *testing.T) {
	peer := Peer{Name: "w0.east", Cluster: "east", Addr: "192.0.2.1:7946"}
	get := func(t *testing.T, c *conns, p Peer) *pooled {
		conn, err := c.get(p)
		require.NoError(t, err)
		return conn
	}
	for what, test := range map[string]func(t *testing.T, c *conns){
		"when idle": func(t *testing.T, c *conns) {
			p := get(t, c, peer)
			pass(2 * connIdle)
			require.False(t, shut(p), "in use")
			c.put(p, nil)
			pass(connIdle / 2)
			require.Same(t, p, get(t, c, peer))
			pass(connIdle)
			c.put(p, nil)
			require.False(t, shut(p))
			pass(connIdle + time.Second)
			require.True(t, shut(p))
			require.Empty(t, c.byMember)
		},
		"when broken, after their last use": func(t *testing.T, c *conns) {
			p := get(t, c, peer)
			require.Same(t, p, get(t, c, peer))
			c.put(p, errors.New("broken"))
			require.False(t, shut(p))
			other := get(t, c, peer)
			require.NotSame(t, p, other)
			c.put(p, nil)
			require.True(t, shut(p))
			c.put(other, status.Error(codes.ResourceExhausted, "busy"))
			require.False(t, shut(other), "the peer is well")
		},
		"when the member has moved": func(t *testing.T, c *conns) {
			p := get(t, c, peer)
			c.put(p, nil)
			moved := peer
			moved.Addr = "192.0.2.2:7946"
			other := get(t, c, moved)
			require.NotSame(t, p, other)
			require.True(t, shut(p))
			c.put(other, nil)
		},
		"when the member is gone": func(t *testing.T, c *conns) {
			p := get(t, c, peer)
			c.put(p, nil)
			c.retain([]Peer{peer})
			require.False(t, shut(p))
			c.retain(nil)
			require.True(t, shut(p))
		},
		"at the end": func(t *testing.T, c *conns) {
			idle, busy := get(t, c, peer), get(t, c, Peer{Name: "w1.east"})
			c.put(idle, nil)
			c.close()
			require.True(t, shut(idle))
			c.put(busy, nil)
			require.True(t, shut(busy))
			late := get(t, c, peer)
			c.put(late, nil)
			require.True(t, shut(late))
		},
		"when there are too many": func(t *testing.T, c *conns) {
			var all []*pooled
			for i := range 2 * maxConns {
				p := get(t, c, Peer{Name: fmt.Sprint(i)})
				c.put(p, nil)
				all = append(all, p)
			}
			require.Len(t, c.byMember, maxConns)
			open := 0
			for _, p := range all {
				if !shut(p) {
					open++
				}
			}
			require.Equal(t, maxConns, open)
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := pool()
				test(t, c)
				c.close()
			})
		})
	}
}

// TestOneClusterCantHoldAllPulls: a cluster whose watchers don't read what
// they asked for is told to wait, while others are answered.
func TestOneClusterCantHoldAllPulls(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	o := owns(t, "big", &wire.Head{Epoch: 1, Seq: 1})
	var items []item
	for i := range 200 { // 3 MiB, more than waits in the buffers below
		items = append(items, newItem(fmt.Sprint("later/", i), make([]byte, west.config.Limits.RecordBytes)))
	}
	o.content = emptyPart.with(items, nil)
	o.head, _ = from(t, o.identity(t), &wire.Head{Epoch: 1, Seq: 1}, o.content)
	west.store.clusters["big"] = &replicaPart{part: o.content, head: o.head}

	hog := p.identity("hog", trust.Watcher)
	const window = 64 << 10
	conn, err := grpc.NewClient("passthrough:///"+west.peer.Addr, grpc.WithTransportCredentials(handshaken{}),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return connect(ctx, hog, addr, target{addr: addr, cluster: "west"})
		}), grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(servedPulls*window))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	answered := 0
	for range 2 * clusterPulls {
		stream, err := wire.NewReplicaClient(conn).Pull(t.Context(), &wire.PullRequest{Cluster: "big"})
		require.NoError(t, err)
		if _, err := stream.Recv(); err == nil {
			answered++
		} else {
			require.Equal(t, codes.ResourceExhausted, status.Code(err))
		}
	}
	require.Equal(t, clusterPulls, answered)
	for _, other := range []trust.ID{{Cluster: "east", Role: trust.Watcher}, {Cluster: "west", Role: trust.Agent}} {
		conn := connected(t, p.identity(other.Cluster, other.Role), target{addr: west.peer.Addr, cluster: "west"})
		stream, err := wire.NewReplicaClient(conn).Pull(t.Context(), &wire.PullRequest{Cluster: "big"})
		require.NoError(t, err)
		_, err = stream.Recv()
		require.NoError(t, err, other)
	}
}

// TestPullsAreRateLimited: by cluster, with room for watchers that start, and
// not for our own cluster's agents.
func TestPullsAreRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShares("west")
		served := func(cluster string, n int) int {
			got := 0
			for range n {
				if leave, ok := s.enter(cluster); ok {
					leave()
					got++
				}
			}
			return got
		}
		require.Equal(t, pullBurst, served("east", 2*pullBurst))
		require.Equal(t, pullBurst, served("south", pullBurst))
		require.Equal(t, 2*pullBurst, served("west", 2*pullBurst))
		pass(10 * time.Second)
		require.Equal(t, 10*pullRate, served("east", pullBurst))
		for i := range 3 * idleShares {
			served(fmt.Sprint(i), 1)
		}
		require.LessOrEqual(t, len(s.byCluster), idleShares)
	})
}
