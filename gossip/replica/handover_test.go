package replica

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// outrun has a leader of east, which has published user, publish orders as well,
// and all of it reach west, but a sibling only what came first.
func (n *network) outrun(t *testing.T, leader, sibling, west *node) {
	t.Helper()
	for _, watcher := range []*node{sibling, west} {
		eventually(t, "the first version", func() bool { return ready(watcher.config.Table, "user", "east") == 1 })
	}
	n.mu.Lock()
	n.cut[sibling.peer.Name] = true // its messages, not its connections
	n.mu.Unlock()
	leader.publisher.Update(discovery.Update{Services: []*discovery.Service{service("orders", 2)}})
	eventually(t, "the second version", func() bool { return ready(west.config.Table, "orders", "east") == 2 })
	require.Equal(t, -1, ready(sibling.config.Table, "orders", "east"))
}

// TestHandOver: when a leader's term ends, its sibling has all that it
// published, also what was lost on the way, and leads on with it.
func TestHandOver(t *testing.T) {
	p, n, epochs := newPKI(t), &network{}, &counter{}
	first := n.start(t, p, "e0.east", "east")
	second := n.start(t, p, "e1.east", "east")
	west := n.start(t, p, "w0.west", "west")
	for _, watcher := range []*node{first, second} {
		watcher.publisher.Update(whole("east", service("user", 1)))
	}
	stop := first.lead(t, epochs)
	n.outrun(t, first, second, west)
	stop()
	require.Equal(t, 2, ready(second.config.Table, "orders", "east"), "before the term ended")
}

// TestInquiry: a leader that is killed hands nothing over; the next one leads on
// with what peers have of it all the same, and not with what it had itself.
func TestInquiry(t *testing.T) {
	p, n, epochs := newPKI(t), &network{}, &counter{}
	first := n.start(t, p, "e0.east", "east")
	second := n.start(t, p, "e1.east", "east")
	west := n.start(t, p, "w0.west", "west")
	first.publisher.Update(whole("east", service("user", 1)))
	first.lead(t, epochs)
	n.outrun(t, first, second, west)
	n.mu.Lock()
	delete(n.nodes, "e0.east")
	n.mu.Unlock()
	first.stop()
	second.publisher.Update(whole("east", service("user", 1), service("orders", 2)))
	second.lead(t, epochs)
	var own *head
	eventually(t, "the next term", func() bool {
		own = second.store.heads.get("east")
		return own.Epoch == 2
	})
	require.Equal(t, 2, ready(second.config.Table, "orders", "east"), "with the first version of the term")
	require.EqualValues(t, 1, own.Seq)
}

// TestInquiryEnds: peers that take connections and never answer keep a leader
// from beginning for a moment only.
func TestInquiryEnds(t *testing.T) {
	p, n := newPKI(t), &network{}
	first := n.start(t, p, "e0.east", "east")
	n.mu.Lock()
	for name, cluster := range map[string]string{"w0.west": "west", "s0.south": "south"} {
		n.nodes[name] = &node{net: n, peer: Peer{Name: name, Cluster: cluster, Addr: silent(t)}}
		n.cut[name] = true
	}
	n.mu.Unlock()
	first.publisher.Update(whole("east", service("user", 1)))
	first.lead(t, &counter{})
	eventually(t, "the first version", func() bool { return ready(first.config.Table, "user", "east") == 1 })
}

// TestHandOverEnds: a sibling that takes connections and never answers keeps a
// leader from standing down for a moment only.
func TestHandOverEnds(t *testing.T) {
	p, n := newPKI(t), &network{}
	first := n.start(t, p, "e0.east", "east")
	first.publisher.Update(whole("east", service("user", 1)))
	stop := first.lead(t, &counter{})
	eventually(t, "the first version", func() bool { return ready(first.config.Table, "user", "east") == 1 })
	n.mu.Lock()
	n.nodes["e1.east"] = &node{net: n, peer: Peer{Name: "e1.east", Cluster: "east", Addr: silent(t)}}
	n.cut["e1.east"] = true
	n.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		stop()
	}()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		require.Fail(t, "the leader does not stand down")
	}
}

// TestHandOverIsPatient: a sibling that has just started, and agents' pulls to
// answer, is brought the last version all the same.
func TestHandOverIsPatient(t *testing.T) {
	p, n := newPKI(t), &network{}
	first := n.start(t, p, "e0.east", "east")
	first.publisher.Update(whole("east", service("user", 1)))
	stop := first.lead(t, &counter{})
	eventually(t, "the first version", func() bool { return ready(first.config.Table, "user", "east") == 1 })
	sibling := &starting{head: first.store.heads.get("east").signed}
	identity := p.identity("east", trust.Watcher)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := grpc.NewServer(grpc.Creds(handshaken{}))
	wire.RegisterReplicaServer(g, sibling)
	go g.Serve(shaking{l, identity.Server(nil, ALPN)})
	t.Cleanup(g.Stop)
	n.mu.Lock()
	n.nodes["e1.east"] = &node{net: n, peer: Peer{Name: "e1.east", Cluster: "east", Addr: l.Addr().String()}}
	n.cut["e1.east"] = true
	n.mu.Unlock()
	stop()
	require.EqualValues(t, 2, sibling.announced.Load())
	require.EqualValues(t, 3, sibling.asked.Load())
}

// starting is a watcher that is busy, then knows nothing of its cluster, then
// has it.
type starting struct {
	wire.UnimplementedReplicaServer
	head             *wire.SignedHead
	announced, asked atomic.Int32
}

func (s *starting) Announce(context.Context, *wire.AnnounceRequest) (*wire.AnnounceResponse, error) {
	if s.announced.Add(1) == 1 {
		return nil, status.Error(codes.ResourceExhausted, "too many pulls at once")
	}
	return nil, status.Error(codes.FailedPrecondition, trust.ErrUnknownKey.Error())
}

func (s *starting) Pull(_ *wire.PullRequest, stream grpc.ServerStreamingServer[wire.PullResponse]) error {
	switch s.asked.Add(1) {
	case 1:
		return status.Error(codes.ResourceExhausted, "too many pulls at once")
	case 2:
		return status.Error(codes.NotFound, "not known here")
	}
	return stream.Send(&wire.PullResponse{Head: s.head})
}

// silent is an address that takes connections and says nothing.
func silent(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// TestOnlyTheLeaderHandsOver: a watcher that has never led has nothing to bring.
func TestOnlyTheLeaderHandsOver(t *testing.T) {
	p, n := newPKI(t), &network{}
	first := n.start(t, p, "e0.east", "east")
	second := n.start(t, p, "e1.east", "east")
	first.publisher.Update(whole("east", service("user", 1)))
	first.lead(t, &counter{})
	eventually(t, "the first version", func() bool { return ready(second.config.Table, "user", "east") == 1 })
	n.mu.Lock()
	n.nodes["e2.east"] = &node{net: n, peer: Peer{Name: "e2.east", Cluster: "east", Addr: silent(t)}}
	n.mu.Unlock()
	dialled := false
	second.conns.mu.Lock()
	dial := second.conns.dial
	second.conns.dial = func(p Peer) (*grpc.ClientConn, error) {
		dialled = dialled || p.Name == "e2.east"
		return dial(p)
	}
	second.conns.mu.Unlock()
	second.publisher.handOver(t.Context())
	require.False(t, dialled)
}
