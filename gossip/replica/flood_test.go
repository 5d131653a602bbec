package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// million is a flood: five times what a part may have at most.
const million = 1_000_000

// heap is what is in use after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what finalizers have let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// maxGrowth is what a hostile cluster may cost the others.
const maxGrowth = 16 << 20

// flooder is a cluster's watcher that answers pulls with a signed head and then
// with services without end.
type flooder struct {
	wire.UnimplementedReplicaServer
	head *wire.SignedHead
	sent atomic.Int64 // by all pulls, of which one may not have ended when the next begins
}

func (f *flooder) Pull(_ *wire.PullRequest, stream grpc.ServerStreamingServer[wire.PullResponse]) error {
	m := &wire.PullResponse{Head: f.head, Buckets: allBuckets()}
	for i := range million {
		key := fmt.Sprintf("s/flood/s%d", i)
		m.Items = append(m.Items, &wire.Item{Key: key, Value: binary.BigEndian.AppendUint64(nil, uint64(i))})
		if len(m.Items) == 1000 {
			if err := stream.Send(m); err != nil {
				return err
			}
			f.sent.Add(int64(len(m.Items)))
			m = &wire.PullResponse{}
		}
	}
	return nil
}

// serving runs a flooder as a member of the pool.
func (n *network) serving(t *testing.T, identity *trust.Identity, f *flooder) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := grpc.NewServer(grpc.Creds(handshaken{}))
	wire.RegisterReplicaServer(g, f)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.Serve(shaking{l, identity.Server(nil, ALPN)})
	}()
	t.Cleanup(func() { g.Stop(); <-done })
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes["x0.evil"] = &node{net: n, peer: Peer{Name: "x0.evil", Cluster: "evil", Addr: l.Addr().String()}, Replica: alone(t, "evil")}
}

// TestFloodByPull: a cluster with a million services of its own loses its own
// news, and costs the others nothing, whether its head says how many they are
// or lies about it.
func TestFloodByPull(t *testing.T) {
	for _, tt := range []struct {
		name   string
		items  uint32
		reason string
		most   int // items that it may get rid of
	}{
		{"as its head says", million, "limit", 100_000},
		{"more than its head says", 1000, "root", 100_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, n := newPKI(t), &network{}
			west := n.start(t, p, "w0.west", "west")
			east := n.start(t, p, "e0.east", "east")
			east.publisher.Update(whole("east", service("user", 3)))
			east.lead(t, &counter{})
			identity := p.identity("evil", trust.Watcher)
			good := records(t, service("shop", 2))
			h, _ := from(t, identity, &wire.Head{Uid: "u", Epoch: 1, Seq: 1}, good)
			bring(t, west.Replica, h, good)
			eventually(t, "all is well", func() bool {
				return ready(west.config.Table, "user", "east") == 3 && ready(west.config.Table, "shop", "evil") == 2
			})

			flood, err := sign(identity, &wire.Head{Clusterset: "test", Cluster: "evil", Uid: "u", Epoch: 1, Seq: 2, Root: make([]byte, 32), Items: tt.items})
			require.NoError(t, err)
			f := &flooder{head: flood.signed}
			n.serving(t, identity, f)
			before, counted := heap(), west.refusals(tt.reason)
			msg, err := message(&wire.Announcement{Head: flood.signed})
			require.NoError(t, err)
			for range 5 {
				west.HandleMessage("x0.evil", msg)
				west.HandleDigest(digestOf(t, "x0.evil", &wire.Digest{Cluster: "evil", Epoch: 1, Seq: 2}))
			}
			eventually(t, "refused", func() bool { return west.refusals(tt.reason) >= counted+1 })
			eventually(t, "given up", func() bool { west.puller.mu.Lock(); defer west.puller.mu.Unlock(); return len(west.puller.wants) == 0 })
			require.Less(t, heap()-before, int64(maxGrowth))
			require.Equal(t, 2, ready(west.config.Table, "shop", "evil"), "its last good part stays")
			east.publisher.Update(whole("east", service("user", 1)))
			eventually(t, "others go on", func() bool { return ready(west.config.Table, "user", "east") == 1 })
			require.Less(t, int(f.sent.Load()), tt.most)
		})
	}
}

// TestFloodByAnnouncements: a cluster that adds services message by message
// gets as far as the limits, and no further.
func TestFloodByAnnouncements(t *testing.T) {
	const most, step = 5000, 50 // items; a message of 50 is about what fits a packet
	r := alone(t, "west")
	r.store.limits.Items = most
	east := owns(t, "east", &wire.Head{Uid: "u", Epoch: 1, Seq: 1}, service("user", 3))
	bring(t, r, east.head, east.content)
	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "evil", Role: trust.Watcher})
	require.NoError(t, err)
	current, full := emptyPart, int64(0)
	for seq := uint64(1); seq <= million/step/50; seq++ {
		d := &wire.Delta{BaseSeq: seq - 1}
		var items []item
		for i := range step {
			value, err := encodeService(service(fmt.Sprintf("s%d-%d", seq, i), 1))
			require.NoError(t, err)
			it := newItem(fmt.Sprintf("s/production/s%d-%d", seq, i), value)
			items = append(items, it)
			d.Changed = append(d.Changed, &wire.Item{Key: it.key, Value: it.value})
		}
		next := current.with(items, nil)
		h, _ := from(t, identity, &wire.Head{Uid: "u", Epoch: 1, Seq: seq}, next)
		_, result, err := r.store.accept(&wire.Announcement{Head: h.signed, Delta: d})
		if next.items <= most {
			require.NoError(t, err)
			require.Equal(t, applied, result)
			current = next
			continue
		}
		if full == 0 {
			full = heap()
		}
		require.ErrorIs(t, err, errTooLarge)
	}
	require.Less(t, heap()-full, int64(maxGrowth))
	_, have := r.store.get("evil")
	require.Equal(t, most, have.items, "its last good part stays")
	require.Equal(t, 3, ready(r.config.Table, "user", "east"))
}

// TestFloodOfNames: a cluster whose peers claim a thousand others costs a want
// each, and no more than there is room for.
func TestFloodOfNames(t *testing.T) {
	r := fetching(t, func(context.Context, string, string, int) (*pulled, error) { return nil, errors.New("not here") })
	before := heap()
	for i := range 100_000 {
		r.puller.wantClaimed(fmt.Sprintf("fake-%d", i), v1, "x0.evil")
	}
	require.Len(t, r.puller.wants, r.config.Limits.Clusters)
	require.Less(t, heap()-before, int64(1<<20))
}
