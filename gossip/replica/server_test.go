package replica

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// connected dials a watcher for the length of a test.
func connected(t *testing.T, identity *trust.Identity, to target) *grpc.ClientConn {
	conn, err := dial(identity, to)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestOnlyOurOwnMaySubscribe: streams are for agents, and there are not enough
// for the watchers of a thousand clusters.
func TestOnlyOurOwnMaySubscribe(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	west.publisher.Update(whole("west", service("user", 1)))
	west.lead(t, &counter{})
	for who, want := range map[*trust.Identity]codes.Code{
		p.identity("east", trust.Watcher): codes.PermissionDenied,
		p.identity("east", trust.Agent):   codes.PermissionDenied,
		p.identity("west", trust.Watcher): codes.OK, // both in one process
		p.identity("west", trust.Agent):   codes.OK,
	} {
		t.Run(who.ID().String(), func(t *testing.T) {
			conn := connected(t, who, target{addr: west.peer.Addr, cluster: "west"})
			stream, err := wire.NewReplicaClient(conn).Subscribe(t.Context(), &wire.SubscribeRequest{})
			require.NoError(t, err)
			_, err = stream.Recv()
			require.Equal(t, want, status.Code(err))
		})
	}
}

// plain serves a watcher in plain text and returns its address.
func plain(t *testing.T, r *Replica, limit time.Duration) (l net.Listener, ended <-chan error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.serve(ctx, l, limit) }()
	t.Cleanup(cancel)
	return l, done
}

// TestSlowPullersGoInTheEnd: those who don't read what they asked for must not
// keep all others from pulling.
func TestSlowPullersGoInTheEnd(t *testing.T) {
	r := alone(t, "west")
	o := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1})
	var items []item
	for i := range 200 { // 3 MiB, more than waits in the buffers below
		items = append(items, newItem(fmt.Sprint("later/", i), make([]byte, r.config.Limits.RecordBytes)))
	}
	o.content = emptyPart.with(items, nil)
	o.head, _ = from(t, o.identity(t), &wire.Head{Epoch: 1, Seq: 1}, o.content)
	_, _, err := r.store.adopt("east", o.answer(), emptyPart)
	require.NoError(t, err)
	l, _ := plain(t, r, 3*time.Second)
	const window = 64 << 10
	for range 4 {
		conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(servedPulls*window))
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		for range servedPulls / 4 {
			stream, err := wire.NewReplicaClient(conn).Pull(t.Context(), &wire.PullRequest{Cluster: "east"})
			require.NoError(t, err)
			_, err = stream.Recv()
			require.NoError(t, err)
		}
	}
	conn := connected(t, r.config.Identity, target{addr: l.Addr().String()})
	eventually(t, "a pull", func() bool {
		got, err := pullFrom(t.Context(), conn, r.store, "east", emptyPart)
		return err == nil && len(got.items) == o.content.items
	})
}

// TestServeEndsItsStreams: when the port is lost Serve returns, and nothing of
// it goes on.
func TestServeEndsItsStreams(t *testing.T) {
	r := alone(t, "west")
	l, ended := plain(t, r, pullTimeout)
	conn := connected(t, r.config.Identity, target{addr: l.Addr().String()})
	stream, err := wire.NewReplicaClient(conn).Subscribe(t.Context(), &wire.SubscribeRequest{})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err, "the viewer")
	require.NoError(t, l.Close())
	require.Error(t, <-ended)
	require.Empty(t, r.feed.boxes)
	_, err = stream.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err))
}

// TestRelayCannotInventItems: a peer that hands a part on can't have us hold
// more than its owner has signed for.
func TestRelayCannotInventItems(t *testing.T) {
	r := alone(t, "west")
	o := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1}, service("user", 1))
	for i := range 5 {
		o.content = o.content.with([]item{newItem(name(i), nil)}, nil)
	}
	from := alone(t, "central")
	from.store.clusters["east"] = &replicaPart{part: o.content, head: o.head}
	l, _ := plain(t, from, pullTimeout)
	conn := connected(t, r.config.Identity, target{addr: l.Addr().String()})
	_, err := pullFrom(t.Context(), conn, r.store, "east", emptyPart)
	require.ErrorIs(t, err, errRoot)
	from.store.clusters["other"] = from.store.clusters["east"]
	_, err = pullFrom(t.Context(), conn, r.store, "other", emptyPart)
	require.ErrorContains(t, err, "answer is about east")
}

func digestOf(t *testing.T, member string, digests ...*wire.Digest) []byte {
	b, err := proto.Marshal(&wire.Digests{Member: member, Digests: digests})
	require.NoError(t, err)
	return b
}

// settling runs a watcher that has seeds; its pulls take so long.
func settling(t *testing.T, pull time.Duration) *Replica {
	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "west", Role: trust.Watcher})
	require.NoError(t, err)
	r, err := New(Config{Member: "w0.west", Identity: identity, Table: discovery.NewTable(), ExpectPeers: true})
	require.NoError(t, err)
	r.puller.fetch = func(ctx context.Context, cluster, _ string, _ int, _ *part) (*pulled, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pull):
		}
		return owns(t, cluster, &wire.Head{Epoch: 1, Seq: 1}).answer(), nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() { _ = r.Run(ctx) }()
	return r
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// TestAnEmptySiblingTellsNothing: two watchers of a cluster that start together
// meet each other first. What the other one does not know yet is not the whole.
func TestAnEmptySiblingTellsNothing(t *testing.T) {
	for what, test := range map[string]struct {
		digest  []byte
		settles bool
	}{
		"a sibling that knows nothing":   {digestOf(t, "w1.west"), false},
		"a sibling that knows something": {digestOf(t, "w1.west", &wire.Digest{Cluster: "east", Epoch: 1, Seq: 1}), true},
		"another cluster":                {digestOf(t, "e0.east"), true},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := settling(t, time.Second)
				r.HandleDigest(test.digest)
				pass(2 * time.Second)
				require.Equal(t, test.settles, closed(r.settled))
				pass(settleTime)
				require.True(t, closed(r.settled), "in the end it goes on alone")
			})
		})
	}
}

// TestAgentsWaitForTheFirstPulls: publishing can't wait long for peers; calling
// a table the whole can.
func TestAgentsWaitForTheFirstPulls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := settling(t, 8*time.Second)
		p := r.NewPublisher()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = p.Lead(ctx, &counter{}) }()
		p.Update(whole("west", service("user", 1)))
		current := make(chan struct{})
		go func() {
			if r.waitCurrent(ctx) {
				close(current)
			}
		}()
		r.HandleDigest(digestOf(t, "e0.east", &wire.Digest{Cluster: "east", Epoch: 1, Seq: 1}))
		pass(settleTime + time.Second)
		require.Equal(t, 1, ready(r.config.Table, "user", "west"), "published")
		require.False(t, r.Ready())
		require.False(t, closed(current))
		pass(3 * time.Second)
		require.NotNil(t, r.store.heads.get("east"))
		require.True(t, r.Ready())
		require.True(t, closed(current))
	})
}

// TestWaitingForAPullEnds: a peer whose part never comes must not keep agents
// from the others' for good.
func TestWaitingForAPullEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := settling(t, time.Hour)
		r.HandleDigest(digestOf(t, "e0.east", &wire.Digest{Cluster: "east", Epoch: 1, Seq: 1}))
		pass(settleTime + wholeTime + time.Second)
		require.True(t, closed(r.whole))
	})
}
