package process

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/test/cluster"
)

// TestRetire: an operator takes a cluster out for good, somebody who kept its
// heads tries to bring it back, and a cluster that is built anew takes the name.
func TestRetire(t *testing.T) {
	s := clusters(t, "west", "east", "south")
	west, east, south := s.Clusters[0], s.Clusters[1], s.Clusters[2]
	retire := func(certOf *cluster.Cluster, more ...string) cluster.Result {
		base := filepath.Join(certOf.Dir, "watcher")
		return cluster.Run(t, patience, append([]string{
			"retire", "east", "--watcher", west.Gossip,
			"--cert", base + ".crt", "--key", base + ".key", "--ca", filepath.Join(certOf.Dir, "ca.crt"),
		}, more...)...)
	}
	kept := pull(t, west, south, "east")
	require.False(t, headOf(t, kept).Retired)

	s.Step("mistakes", func(t *testing.T) {
		for _, tt := range []struct {
			name string
			r    cluster.Result
			want []string
		}{
			{"another cluster's certificate", retire(south, "--yes"), []string{"names spiffe://test/cluster/south/watcher", "isthmus pki issue --cluster east"}},
			{"not confirmed", retire(east), []string{"east publishes 3 services", "add --yes"}},
			{"no watcher", cluster.Run(t, patience, "retire", "east", "--cert", "c"), []string{"no watcher is given"}},
			{"no certificate", cluster.Run(t, patience, "retire", "east", "--watcher", west.Gossip), []string{"no certificate of east's watcher"}},
			{"another's configuration", cluster.Run(t, patience, "retire", "east", "-c", west.ConfigFile()), []string{"is the configuration of west, not of east"}},
			{"no cluster", cluster.Run(t, patience, "retire"), []string{"want the name of one cluster"}},
		} {
			require.Equal(t, 2, tt.r.Code, "%s: %s", tt.name, tt.r.Stderr)
			for _, text := range tt.want {
				require.Contains(t, tt.r.Stderr, text, tt.name)
			}
		}
		west.Answers("stock.shop.global.", "A", east.Gateway)
	})
	s.Step("retire", func(t *testing.T) {
		r := retire(east, "--yes")
		require.Zero(t, r.Code, r.Stderr)
		require.Contains(t, r.Stdout, "east is retired")
		for _, c := range []*cluster.Cluster{west, south} {
			c.Answers("stock.shop.global.", "A", "NXDOMAIN")
			c.Answers("east.user.shop.global.", "A", "NXDOMAIN")
			c.Answers("user.shop.global.", "A", c.ClusterIP("user"))
			c.Reaches(2, "isthmus_table_clusters")
		}
		require.Equal(t, 2, east.Watcher.Wait())
		east.Watcher.Logged("cluster east was retired", "isthmus retire east --undo")
		south.Watcher.Logged("cluster was retired", "east")
		r = retire(east, "--yes")
		require.Zero(t, r.Code)
		require.Contains(t, r.Stdout, "east is retired already")
	})
	s.Step("restarts", func(t *testing.T) {
		west.Agent.Stop() // which writes the copy on disk
		west.Watcher.Stop()
		west.Agent.Start()
		west.Answers("user.shop.global.", "A", west.ClusterIP("user"))
		west.Answers("stock.shop.global.", "A", "NXDOMAIN")
		west.Watcher.Start()
		west.Sees(south)
		west.Answers("stock.shop.global.", "A", "NXDOMAIN")
		east.Watcher.Start()
		require.Equal(t, 2, east.Watcher.Wait(), "a restart does not bring it back")
	})
	s.Step("replay", func(t *testing.T) {
		loop := west.Loop(cluster.Expect{Query: cluster.Query{Name: "stock.shop.global.", Type: "A"}, Right: []string{"NXDOMAIN"}})
		require.NoError(t, announce(t, west, south, kept), "old news are no error")
		loop.Goes(20)
		loop.Stop()
		require.True(t, headOf(t, pull(t, west, south, "east")).Retired)
	})
	s.Step("rebuilt", func(t *testing.T) {
		require.NoError(t, os.RemoveAll(east.State())) // with its uid
		east.Watcher.Start()
		for _, c := range []*cluster.Cluster{west, south} {
			c.Sees(east)
			c.Answers("stock.shop.global.", "A", east.Gateway)
		}
		err := announce(t, west, south, kept)
		require.Equal(t, codes.FailedPrecondition, status.Code(err))
		west.Reaches(1, "isthmus_replica_refused_total", "reason", "cloned")
		west.Answers("stock.shop.global.", "A", east.Gateway)
	})
	s.Step("come back", func(t *testing.T) {
		require.Zero(t, retire(east, "--yes").Code)
		require.Equal(t, 2, east.Watcher.Wait())
		west.Answers("stock.shop.global.", "A", "NXDOMAIN")
		r := cluster.Run(t, patience, "retire", "east", "--undo", "-c", east.ConfigFile())
		require.Zero(t, r.Code, r.Stderr)
		require.Contains(t, r.Stdout, "east is free to come back")
		east.Watcher.Start()
		west.Answers("stock.shop.global.", "A", east.Gateway)
	})
}

// watcherOf connects to a watcher's gRPC by hand, as another cluster's watcher.
func watcherOf(t *testing.T, to, as *cluster.Cluster) wire.ReplicaClient {
	t.Helper()
	config := as.Identity().Client(nil, cluster.Name, "h2")
	conn, err := grpc.NewClient("passthrough:///"+to.Gossip, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
		}))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return wire.NewReplicaClient(conn)
}

// pull fetches a cluster's whole part, as the announcement that would bring it
// at once.
func pull(t *testing.T, from, as *cluster.Cluster, of string) *wire.Announcement {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stream, err := watcherOf(t, from, as).Pull(ctx, &wire.PullRequest{Cluster: of})
	require.NoError(t, err)
	a := &wire.Announcement{Delta: &wire.Delta{}}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return a
		}
		require.NoError(t, err)
		if m.Head != nil {
			a.Head = m.Head
		}
		a.Delta.Changed = append(a.Delta.Changed, m.Items...)
	}
}

func announce(t *testing.T, to, as *cluster.Cluster, a *wire.Announcement) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := watcherOf(t, to, as).Announce(ctx, &wire.AnnounceRequest{Announcement: a})
	return err
}

func headOf(t *testing.T, a *wire.Announcement) *wire.Head {
	t.Helper()
	h := &wire.Head{}
	require.NoError(t, proto.Unmarshal(a.Head.Head, h))
	return h
}
