package replica

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

func gatewayAt(addr string) GatewayAddress {
	return GatewayAddress{AddrPort: netip.MustParseAddrPort(addr), Check: discovery.CheckTCP}
}

// gatewayOf makes states of one cluster with one address.
func gatewayOf(cluster string, up bool) *GatewayStates {
	return NewGatewayStates(map[string]map[GatewayAddress]GatewayState{
		cluster: {gatewayAt("192.0.2.1:443"): {Known: true, Up: up, RTT: 40 * time.Millisecond}},
	})
}

func TestGatewayAddressForms(t *testing.T) {
	g := gatewayOf("east", true)
	require.True(t, g.State("east", gatewayAt("192.0.2.1:443")).Up)
	require.True(t, g.State("east", gatewayAt("[::ffff:192.0.2.1]:443")).Up, "an IPv4 address in IPv6")
	require.True(t, g.State("east", GatewayAddress{AddrPort: netip.MustParseAddrPort("192.0.2.1:443")}).Up, "TCP is the default")
	require.Zero(t, g.State("east", gatewayAt("192.0.2.1:80")))
	require.Zero(t, g.State("west", gatewayAt("192.0.2.1:443")))
	require.Zero(t, (*GatewayStates)(nil).State("east", gatewayAt("192.0.2.1:443")))
}

func TestGatewayStatesMalformed(t *testing.T) {
	good := func() *wire.GatewayState {
		return &wire.GatewayState{Addr: []byte{192, 0, 2, 1}, Port: 443, Check: 1, Up: true}
	}
	change := func(f func(*wire.GatewayState)) *wire.GatewayStates {
		s := good()
		f(s)
		return &wire.GatewayStates{Clusters: []*wire.ClusterGateways{{Cluster: "east", States: []*wire.GatewayState{s}}}}
	}
	many := func(clusters, addresses int) *wire.GatewayStates {
		w := &wire.GatewayStates{}
		for c := range clusters {
			of := &wire.ClusterGateways{Cluster: fmt.Sprint("c", c)}
			for a := range addresses {
				s := good()
				s.Addr = []byte{10, 0, byte(a >> 8), byte(a)}
				of.States = append(of.States, s)
			}
			w.Clusters = append(w.Clusters, of)
		}
		return w
	}
	limits := DefaultLimits()
	for what, c := range map[string]struct {
		message *wire.GatewayStates
		want    error
	}{
		"no address":             {change(func(s *wire.GatewayState) { s.Addr = nil }), errMalformed},
		"5 octets":               {change(func(s *wire.GatewayState) { s.Addr = make([]byte, 5) }), errMalformed},
		"IPv4 in IPv6":           {change(func(s *wire.GatewayState) { s.Addr = netip.MustParseAddr("::ffff:1.2.3.4").AsSlice() }), errMalformed},
		"no port":                {change(func(s *wire.GatewayState) { s.Port = 0 }), errMalformed},
		"port beyond 16 bits":    {change(func(s *wire.GatewayState) { s.Port = 65536 + 443 }), errMalformed},
		"no check":               {change(func(s *wire.GatewayState) { s.Check = 0 }), errMalformed},
		"an address twice":       {&wire.GatewayStates{Clusters: []*wire.ClusterGateways{{Cluster: "east", States: []*wire.GatewayState{good(), good()}}}}, errMalformed},
		"a cluster twice":        {&wire.GatewayStates{Clusters: []*wire.ClusterGateways{{Cluster: "east"}, {Cluster: "east"}}}, errMalformed},
		"no cluster":             {&wire.GatewayStates{Clusters: []*wire.ClusterGateways{{}}}, errMalformed},
		"a cluster's bad name":   {&wire.GatewayStates{Clusters: []*wire.ClusterGateways{{Cluster: "a.b"}}}, errMalformed},
		"addresses of a cluster": {many(1, maxGatewaysOfCluster+1), errTooLarge},
		"addresses of all":       {many(17, maxGatewaysOfCluster), errTooLarge},
		"clusters":               {many(limits.Clusters, 1), errTooLarge}, // and the one there was
		"clusters without any":   {many(2*limits.Clusters+1, 0), errTooLarge},
		"most clusters":          {many(limits.Clusters-1, 1), nil},
		"most addresses":         {many(15, maxGatewaysOfCluster), nil},
		"a later version's":      {change(func(s *wire.GatewayState) { s.Check = 77 }), nil},
		"not checked":            {change(func(s *wire.GatewayState) { s.Check = 4 }), nil},
	} {
		t.Run(what, func(t *testing.T) {
			before := gatewayOf("west", true)
			after, err := before.with(c.message, limits)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
				return
			}
			require.NoError(t, err)
			require.True(t, after.State("west", gatewayAt("192.0.2.1:443")).Up, "not named, so as before")
			require.Zero(t, after.State("east", gatewayAt("192.0.2.1:443")), "what we don't know is unknown")
		})
	}
}

// TestGatewayStatesFitAMessage: whatever a prober is configured to check.
func TestGatewayStatesFitAMessage(t *testing.T) {
	clusters := map[string]map[GatewayAddress]GatewayState{}
	for c := range 1200 {
		states := map[GatewayAddress]GatewayState{}
		for a := range 2000 / (c + 1) {
			addr := netip.AddrFrom16([16]byte{0x20, 1, byte(c >> 8), byte(c), byte(a >> 8), byte(a)})
			states[GatewayAddress{netip.AddrPortFrom(addr, 50000), discovery.CheckHTTP}] = GatewayState{Known: true, Up: true, RTT: time.Minute}
		}
		states[GatewayAddress{netip.AddrPortFrom(netip.IPv6Unspecified(), 1), discovery.CheckTCP}] = GatewayState{Known: c%2 == 0, Up: true}
		clusters[fmt.Sprintf("%055d-%04d", 0, c)] = states
	}
	all := NewGatewayStates(clusters)
	kept, leftOut := all.bounded(DefaultLimits())
	require.Equal(t, all.Len()-600, kept.Len()+leftOut, "half of the last ones are unknown")
	again, _ := all.bounded(DefaultLimits())
	require.True(t, kept.equal(again))
	require.Len(t, kept.clusters, DefaultLimits().Clusters)
	require.Less(t, proto.Size(&wire.StreamMessage{Body: &wire.StreamMessage_GatewayStates{GatewayStates: kept.encode()}}), maxRPC)
	got, err := (*GatewayStates)(nil).with(kept.encode(), DefaultLimits())
	require.NoError(t, err)
	require.True(t, kept.equal(got))
}

// TestGatewayNewsLeadOn: whatever an agent was told last, the next message leads
// it to what holds now; and what says nothing new changes no pointer.
func TestGatewayNewsLeadOn(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	board := newGatewayBoard(DefaultLimits())
	type stream struct {
		told *gatewayNews
		has  *GatewayStates
	}
	streams := make([]stream, 8)
	messages := 0
	for range 2000 {
		clusters := map[string]map[GatewayAddress]GatewayState{}
		for c := range 3 {
			states := map[GatewayAddress]GatewayState{}
			for a := range random.IntN(3) {
				states[gatewayAt(fmt.Sprintf("192.0.2.%d:443", a))] = GatewayState{Known: random.IntN(3) > 0, Up: random.IntN(2) == 0}
			}
			clusters[fmt.Sprint("c", c)] = states
		}
		states, _ := NewGatewayStates(clusters).bounded(DefaultLimits())
		board.publish(states)
		for i := range streams {
			if random.IntN(i+1) > 0 {
				continue // slow
			}
			s, now := &streams[i], board.load()
			m := now.since(s.told)
			if m != nil {
				messages++
				got, err := s.has.with(m, DefaultLimits())
				require.NoError(t, err)
				require.NotSame(t, s.has, got, "nothing is sent for nothing")
				again, err := got.with(m, DefaultLimits())
				require.NoError(t, err)
				require.Same(t, got, again)
				s.has = got
			}
			s.told = now
			require.True(t, s.has.equal(states))
		}
	}
	require.NotZero(t, messages)
}

// listening runs FollowSiblings for the length of a test.
func (n *node) listening(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = n.FollowSiblings(ctx) })
	stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	t.Cleanup(stop)
	return stop
}

// TestGatewaysReachAllAgents: those of the watcher that checks, and those of its
// siblings; and they keep what they were told while nobody checks, until
// another one does.
func TestGatewaysReachAllAgents(t *testing.T) {
	p, n := newPKI(t), &network{}
	watchers := []*node{n.start(t, p, "w0.west", "west"), n.start(t, p, "w1.west", "west"), n.start(t, p, "w2.west", "west")}
	stranger := n.start(t, p, "e0.east", "east")
	watchers[0].publisher.Update(whole("west", service("orders", 1)))
	watchers[0].lead(t, &counter{})
	identity := p.identity("west", trust.Agent)
	var agents []*Subscriber
	for _, w := range watchers {
		w.listening(t)
		for range 2 {
			s, _ := agent(t, identity, "", w.peer.Addr)
			agents = append(agents, s)
		}
	}
	stranger.listening(t)
	all := func(what string, ok func(*GatewayStates) bool, of ...*Subscriber) {
		t.Helper()
		for i, s := range of {
			eventually(t, fmt.Sprintf("%s: agent %d", what, i), func() bool { return ok(s.Gateways()) })
		}
	}
	is := func(up bool) func(*GatewayStates) bool {
		return func(g *GatewayStates) bool {
			s := g.State("south", gatewayAt("192.0.2.1:443"))
			return s.Known && s.Up == up && s.RTT == 40*time.Millisecond
		}
	}
	for _, s := range agents {
		eventually(t, "current", func() bool { return !s.Stale() })
		require.Nil(t, s.Gateways(), "nobody has checked yet")
	}
	watchers[0].SetGateways(gatewayOf("south", true))
	all("up", is(true), agents...)
	watchers[0].SetGateways(gatewayOf("south", false))
	all("down", is(false), agents...)
	held := agents[0].Gateways()
	watchers[0].SetGateways(gatewayOf("south", false))

	late, _ := agent(t, identity, "", watchers[1].peer.Addr)
	all("who comes late", is(false), late)
	require.Same(t, held, agents[0].Gateways(), "nothing has changed")

	// Who has yielded listens; what it said stays meanwhile.
	watchers[0].YieldGateways()
	watchers[2].SetGateways(gatewayOf("south", true))
	agents = append(agents, late)
	all("the next one's", is(true), agents...)

	watchers[2].stop()
	watchers[1].SetGateways(gatewayOf("south", false))
	all("when that one is gone", is(false), append(agents[:4:4], late)...)
	for _, s := range agents[4:6] {
		require.True(t, is(true)(s.Gateways()), "an agent without a watcher keeps what it has")
	}
	watchers[1].SetGateways(NewGatewayStates(nil))
	all("nothing", func(g *GatewayStates) bool { return g != nil && g.Len() == 0 }, append(agents[:4:4], late)...)
	states, _ := stranger.Gateways()
	require.Nil(t, states, "of another cluster")
}

func TestOnlySiblingsMayFollow(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	west.SetGateways(gatewayOf("east", true))
	for who, want := range map[*trust.Identity]codes.Code{
		p.identity("east", trust.Watcher): codes.PermissionDenied,
		p.identity("east", trust.Agent):   codes.PermissionDenied,
		p.identity("west", trust.Agent):   codes.PermissionDenied,
		p.identity("west", trust.Watcher): codes.OK,
	} {
		t.Run(who.ID().String(), func(t *testing.T) {
			conn := connected(t, who, target{addr: west.peer.Addr, cluster: "west"})
			stream, err := wire.NewReplicaClient(conn).Gateways(t.Context(), &wire.GatewaysRequest{})
			require.NoError(t, err)
			_, err = stream.Recv()
			require.Equal(t, want, status.Code(err))
			if want != codes.OK {
				return
			}
			west.YieldGateways()
			_, err = stream.Recv()
			require.ErrorIs(t, err, io.EOF, "so that its sibling knows that nobody goes on with it")
			west.SetGateways(gatewayOf("east", true))
		})
	}
}

// TestGatewaysLapse: results that nobody goes on with say nothing about now, in
// the end.
func TestGatewaysLapse(t *testing.T) {
	up := gatewayOf("east", true)
	whole := up.encode()
	limits := DefaultLimits()
	w0, w1 := &source{}, &source{}
	t.Run("a watcher whose sibling is gone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newGatewayBoard(limits)
			require.NoError(t, b.hear(w0, whole))
			time.Sleep(10 * gatewaysStay)
			require.True(t, b.load().states.equal(up), "nothing changes while it is there")
			b.leave(w0)
			time.Sleep(gatewaysStay - time.Second)
			require.True(t, b.load().states.equal(up))
			require.NoError(t, b.hear(w1, whole))
			time.Sleep(2 * time.Second)
			require.True(t, b.load().states.equal(up), "another one goes on")
			b.leave(w0)
			time.Sleep(2 * gatewaysStay)
			require.True(t, b.load().states.equal(up), "somebody else's end")
			before := b.load()
			b.leave(w1)
			time.Sleep(gatewaysStay + time.Second)
			m := b.load().since(before)
			require.NotNil(t, m, "agents have to be told")
			has, err := up.with(m, limits)
			require.NoError(t, err)
			require.Zero(t, has.Len())
		})
	})
	t.Run("a watcher that nobody follows", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newGatewayBoard(limits)
			b.publish(up)
			time.Sleep(2 * gatewaysStay)
			require.NotZero(t, b.load().states.Len())
			b.yield()
			time.Sleep(gatewaysStay - time.Second)
			require.NotZero(t, b.load().states.Len())
			b.publish(up)
			time.Sleep(2 * gatewaysStay)
			require.NotZero(t, b.load().states.Len(), "it checks again")
			b.yield()
			time.Sleep(gatewaysStay + time.Second)
			require.Zero(t, b.load().states.Len())
		})
	})
	t.Run("an agent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var g agentGateways
			require.NoError(t, g.take(whole, limits))
			time.Sleep(2 * gatewaysStay)
			require.NotNil(t, g.states.Load())
			g.leave()
			time.Sleep(gatewaysStay / 2)
			g.leave() // a session with a watcher that said nothing
			time.Sleep(gatewaysStay/2 + time.Second)
			require.Nil(t, g.states.Load())
			g.leave()
			require.NoError(t, g.take(whole, limits))
			g.leave()
			require.ErrorIs(t, g.take(&wire.GatewayStates{}, limits), errMalformed, "differs from what we were not told")
			require.NoError(t, g.take(whole, limits))
			time.Sleep(2 * gatewaysStay)
			require.NotNil(t, g.states.Load())
		})
	})
}

// TestTwoCheck: a sibling that is late to notice that it doesn't check any more
// must not overwrite the one that does. But it may be that one which stays.
func TestTwoCheck(t *testing.T) {
	b := newGatewayBoard(DefaultLimits())
	is := func(up bool) {
		t.Helper()
		require.Equal(t, up, b.load().states.State("east", gatewayAt("192.0.2.1:443")).Up)
	}
	w0, w1 := &source{}, &source{}
	require.NoError(t, b.hear(w0, gatewayOf("east", true).encode()))
	require.NoError(t, b.hear(w1, gatewayOf("east", false).encode()))
	later := gatewayOf("east", true).encode()
	later.Whole = false
	require.ErrorIs(t, b.hear(w0, later), errTwoCheck)
	is(false)
	b.publish(gatewayOf("east", false))
	require.NoError(t, b.hear(w0, gatewayOf("east", true).encode()))
	require.NoError(t, b.hear(w1, later))
	is(false)
	b.yield()
	require.ErrorIs(t, b.hear(w1, later), errTwoCheck, "we don't know from what it differs")
	require.NoError(t, b.hear(&source{}, gatewayOf("east", true).encode()))
	is(true)
}

// TestWhoYieldsHearsItsSibling: two checked for a time, as when one was stopped
// and goes on. What the other had told before then holds again, though it has
// nothing new to say.
func TestWhoYieldsHearsItsSibling(t *testing.T) {
	p, n := newPKI(t), &network{}
	w0, w1 := n.start(t, p, "w0.west", "west"), n.start(t, p, "w1.west", "west")
	w1.SetGateways(gatewayOf("east", false))
	w0.listening(t)
	heard := func() bool {
		states, _ := w0.Gateways()
		s := states.State("east", gatewayAt("192.0.2.1:443"))
		return s.Known && !s.Up
	}
	eventually(t, "what w1 found", heard)
	w0.SetGateways(gatewayOf("east", true))
	require.False(t, heard())
	w0.YieldGateways()
	eventually(t, "what w1 found, again", heard)
}

// TestWhoNoLongerChecksIsForgotten: a watcher that was stopped while it checked
// tells, when it goes on, what it found before then, until it notices that
// another one has long taken its place. That one has nothing new to say.
func TestWhoNoLongerChecksIsForgotten(t *testing.T) {
	p, n := newPKI(t), &network{}
	w0, w1, w2 := n.start(t, p, "w0.west", "west"), n.start(t, p, "w1.west", "west"), n.start(t, p, "w2.west", "west")
	for _, w := range []*node{w0, w1, w2} {
		w.listening(t)
	}
	says := func(w *node, up bool) func() bool {
		return func() bool {
			states, _ := w.Gateways()
			s := states.State("east", gatewayAt("192.0.2.1:443"))
			return s.Known && s.Up == up
		}
	}
	w1.SetGateways(gatewayOf("east", false))
	eventually(t, "what w1 finds", says(w2, false))
	w0.SetGateways(gatewayOf("east", true))
	eventually(t, "what w0 found once", says(w2, true))
	w0.YieldGateways()
	eventually(t, "what w1 finds, again", says(w2, false))
}

// TestWhoKeepsOnYieldsToWhoChecks: without a successor, as while no Lease can be
// had, a watcher goes on with what it finds until a sibling has something.
func TestWhoKeepsOnYieldsToWhoChecks(t *testing.T) {
	p, n := newPKI(t), &network{}
	w0, w1 := n.start(t, p, "w0.west", "west"), n.start(t, p, "w1.west", "west")
	w0.listening(t)
	w1.listening(t)
	says := func(w *node, up bool) func() bool {
		return func() bool {
			states, _ := w.Gateways()
			s := states.State("east", gatewayAt("192.0.2.1:443"))
			return s.Known && s.Up == up
		}
	}
	require.False(t, w0.KeepGateways(gatewayOf("east", true)), "it never checked")
	w0.SetGateways(gatewayOf("east", true))
	eventually(t, "what w0 finds", says(w1, true))
	require.True(t, w0.KeepGateways(gatewayOf("east", false)))
	eventually(t, "what w0 finds after its time", says(w1, false))
	w1.SetGateways(gatewayOf("east", true))
	eventually(t, "w1 has taken over", says(w0, true))
	require.False(t, w0.KeepGateways(gatewayOf("east", false)))
	require.True(t, says(w0, true)())
	require.True(t, says(w1, true)())
	w0.SetGateways(gatewayOf("east", false))
	require.True(t, says(w0, false)(), "it was elected again")
}
