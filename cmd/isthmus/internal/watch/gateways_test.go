package watch

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"reflect"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/probe"
	"github.com/isthmus-dns/isthmus/gossip/replica"
)

// board is a noticeboard without a replica.
type board struct {
	mu       sync.Mutex
	ready    bool
	states   *replica.GatewayStates
	told     int // calls of SetGateways
	yielded  bool
	taken    bool // by a sibling
	outdated chan struct{}
}

func newBoard() *board { return &board{ready: true, outdated: make(chan struct{})} }

func (b *board) put(states *replica.GatewayStates) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.states = states
	close(b.outdated)
	b.outdated = make(chan struct{})
}

func (b *board) SetGateways(states *replica.GatewayStates) {
	b.put(states)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told++
	b.yielded = false
}

func (b *board) KeepGateways(states *replica.GatewayStates) bool {
	b.mu.Lock()
	taken, same := b.taken, reflect.DeepEqual(b.states, states)
	b.mu.Unlock()
	if !taken && !same { // as the replica's: what says nothing new outdates nothing
		b.put(states)
	}
	return !taken
}

// take has a sibling say something.
func (b *board) take(states *replica.GatewayStates) {
	b.mu.Lock()
	b.taken = true
	b.mu.Unlock()
	b.put(states)
}

func (b *board) YieldGateways() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.yielded = true
}

func (b *board) hasYielded() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.yielded
}

func (b *board) Gateways() (*replica.GatewayStates, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.states, b.outdated
}

func (b *board) Ready() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ready
}

func (b *board) setReady() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready = true
}

// internet is what a prober dials: addresses refuse connections, or accept them
// after a round trip of 10 ms.
type internet struct {
	mu     sync.Mutex
	dead   map[netip.Addr]bool
	dialed map[netip.Addr]int
}

func (n *internet) kill(addr string, dead bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dead[netip.MustParseAddr(addr)] = dead
}

func (n *internet) dials(addr string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dialed[netip.MustParseAddr(addr)]
}

func (n *internet) dial(_ context.Context, a netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	n.dialed[a.Addr()]++
	dead := n.dead[a.Addr()]
	n.mu.Unlock()
	if dead {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	time.Sleep(10 * time.Millisecond)
	ours, theirs := net.Pipe()
	return both{ours, theirs}, nil
}

// both ends of a connection are closed as one.
type both struct {
	net.Conn
	peer net.Conn
}

func (b both) Close() error { return errors.Join(b.peer.Close(), b.Conn.Close()) }

// bench is a gateways with all that it needs, on a bubble's clock.
type bench struct {
	*gateways
	t     *testing.T
	board *board
	net   *internet
}

// newBench has one other cluster, whose gateways are 192.0.2.1 and 192.0.2.2, and
// what hostname resolves to unless it is "".
func newBench(t *testing.T, hostname string) *bench {
	b := &bench{t: t, board: newBoard(), net: &internet{dead: map[netip.Addr]bool{}, dialed: map[netip.Addr]int{}}}
	table := discovery.NewTable()
	table.Apply("west", discovery.Update{Cluster: &discovery.Cluster{Name: "west", UID: "w"}}, discovery.Version{Epoch: 1})
	list := []discovery.Gateway{{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}, Port: 443}}
	if hostname != "" {
		list = append(list, discovery.Gateway{Hostname: hostname, Port: 443})
	}
	table.Apply("east", eastWith(list...), discovery.Version{Epoch: 1})
	var err error
	b.gateways, err = newGateways("west", table, b.board, probe.Config{
		Logger: slog.New(slog.DiscardHandler), Dial: b.net.dial,
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			time.Sleep(20 * time.Second)
			return []netip.Addr{netip.MustParseAddr("192.0.2.3")}, nil
		},
	})
	require.NoError(t, err)
	return b
}

func eastWith(list ...discovery.Gateway) discovery.Update {
	return discovery.Update{Cluster: &discovery.Cluster{
		Name: "east", UID: "e", GatewaySets: []discovery.GatewaySet{{Name: discovery.DefaultGatewaySet, Gateways: list}},
	}}
}

// start runs a part until the returned function is called or the test ends.
func (b *bench) start(f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { f(ctx) })
	stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	b.t.Cleanup(stop)
	return stop
}

func (b *bench) live() (stop func()) {
	return b.start(func(ctx context.Context) { _ = b.run(ctx) })
}

// lead is a watcher that checks until its end.
func (b *bench) lead(ctx context.Context) {
	var checking sync.WaitGroup
	defer checking.Wait()
	checking.Go(func() { _ = b.check(ctx) })
	b.gateways.lead(ctx)
}

func stateOf(states *replica.GatewayStates, addr string) string {
	if states == nil {
		return "nothing"
	}
	at := replica.GatewayAddress{AddrPort: netip.AddrPortFrom(netip.MustParseAddr(addr), 443), Check: discovery.CheckTCP}
	return statusOf(states.State("east", at)).String()
}

func (b *bench) told(addr string) string {
	states, _ := b.board.Gateways()
	return stateOf(states, addr)
}

func found(up map[string]bool) *replica.GatewayStates {
	states := map[replica.GatewayAddress]replica.GatewayState{}
	for addr, up := range up {
		at := replica.GatewayAddress{AddrPort: netip.AddrPortFrom(netip.MustParseAddr(addr), 443), Check: discovery.CheckTCP}
		states[at] = replica.GatewayState{Known: true, Up: up, RTT: 30 * time.Millisecond}
	}
	return replica.NewGatewayStates(map[string]map[replica.GatewayAddress]replica.GatewayState{"east": states})
}

// TestOnlyWatcherTellsWhenItKnows: agents may have what the watcher before found,
// and half of the truth would take it from them.
func TestOnlyWatcherTellsWhenItKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		b.net.kill("192.0.2.2", true)
		b.board.ready = false
		defer b.live()()
		stop := b.start(b.lead)
		time.Sleep(time.Minute)
		require.Zero(t, b.net.dials("192.0.2.1"), "our own Pods' addresses are not known before our own record")
		require.Equal(t, "nothing", b.told("192.0.2.1"), "no clusters are known yet, which doesn't mean that there are none")
		b.board.setReady()
		began := time.Now()
		for b.told("192.0.2.1") == "nothing" {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		require.Equal(t, "up", b.told("192.0.2.1"))
		require.Equal(t, "down", b.told("192.0.2.2"), "both at once")
		h := probe.DefaultHealth()
		require.Less(t, time.Since(began), h.Interval*time.Duration(h.Unhealthy)+time.Second)
		stop()
		require.True(t, b.board.yielded)
	})
}

// TestUndecidedDoesNotHoldUpAll: a target without a verdict, here a host name that
// resolves slowly, keeps the others back for the time of a verdict only.
func TestUndecidedDoesNotHoldUpAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "gateway.example")
		b.resolveNever()
		defer b.live()()
		defer b.start(b.lead)()
		h := probe.DefaultHealth()
		time.Sleep(h.Interval * time.Duration(h.Unhealthy))
		require.Equal(t, "nothing", b.told("192.0.2.1"))
		time.Sleep(h.Interval + 3*time.Second)
		require.Equal(t, "up", b.told("192.0.2.1"))
		require.Equal(t, "unknown", b.told("192.0.2.3"))
	})
}

// resolveNever has host names looked up in vain.
func (b *bench) resolveNever() {
	prober, err := probe.New(probe.Config{Dial: b.net.dial, Resolve: func(context.Context, string) ([]netip.Addr, error) {
		return nil, errors.New("no such host")
	}})
	require.NoError(b.t, err)
	b.prober = prober
}

// TestLeaderGoesOnFromTheOneBefore: at no moment does a gateway become unknown
// that the leader before knew, and our own verdict holds as soon as there is one.
func TestLeaderGoesOnFromTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "gateway.example")
		defer b.live()()
		b.net.kill("192.0.2.2", true)
		before := found(map[string]bool{"192.0.2.1": true, "192.0.2.2": false, "192.0.2.3": false})
		b.board.put(before)
		time.Sleep(2 * lookEvery)
		require.Equal(t, probe.Down, b.prober.Snapshot().Cluster("east")[1].Status, "a standby knows")
		require.Zero(t, b.net.dials("192.0.2.1"), "and doesn't check")

		defer b.start(b.lead)()
		for range 1800 { // three minutes: names are looked up, verdicts come
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			require.Equal(t, "up", b.told("192.0.2.1"))
			require.Equal(t, "down", b.told("192.0.2.2"))
			require.NotEqual(t, "unknown", b.told("192.0.2.3"), "a host name's")
		}
		require.NotZero(t, b.net.dials("192.0.2.1"))
		require.Equal(t, "up", b.told("192.0.2.3"), "by our own check")

		h := probe.DefaultHealth()
		b.net.kill("192.0.2.1", true)
		b.net.kill("192.0.2.2", false)
		time.Sleep(h.Interval*time.Duration(h.Unhealthy) + time.Second)
		require.Equal(t, "down", b.told("192.0.2.1"))
		require.Equal(t, "up", b.told("192.0.2.2"))
	})
}

// TestInheritanceEnds: what the leader before found of a gateway that we can't
// check, or that is gone, must not stay for ever.
func TestInheritanceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "gateway.example")
		b.resolveNever()
		defer b.live()()
		b.board.put(found(map[string]bool{"192.0.2.1": true, "192.0.2.3": false}))
		defer b.start(b.lead)()
		time.Sleep(inheritTime - time.Second)
		require.Equal(t, "down", b.told("192.0.2.3"))
		time.Sleep(3 * time.Second)
		require.Equal(t, "unknown", b.told("192.0.2.3"))
		require.Equal(t, "up", b.told("192.0.2.1"))
	})
}

// TestGatewaysFollowTheTable: gateways that come and go, our own addresses, and
// not a walk for each change of a service.
func TestGatewaysFollowTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		defer b.live()()
		defer b.start(b.lead)()
		time.Sleep(10 * time.Second)
		require.Equal(t, "up", b.told("192.0.2.1"))
		b.table.Apply("east", eastWith(discovery.Gateway{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.9")}, Port: 443}), discovery.Version{Epoch: 1, Seq: 2})
		time.Sleep(2 * lookEvery)
		require.Equal(t, "up", b.told("192.0.2.9"))
		require.Equal(t, "up", b.told("192.0.2.1"))
		require.Equal(t, "unknown", b.told("192.0.2.2"))

		b.table.Apply("west", discovery.Update{Cluster: &discovery.Cluster{Name: "west", UID: "w", PodCIDRs: []netip.Prefix{netip.MustParsePrefix("192.0.2.8/29")}}}, discovery.Version{Epoch: 1, Seq: 2})
		time.Sleep(2 * lookEvery)
		dials := b.net.dials("192.0.2.9")
		time.Sleep(time.Minute)
		require.Equal(t, dials, b.net.dials("192.0.2.9"), "an address of ours is not connected to")
		require.Equal(t, "unknown", b.told("192.0.2.9"))

		walks := map[*[]probe.Target]bool{}
		for i := range 3000 {
			b.table.Apply("east", discovery.Update{Services: []*discovery.Service{{Namespace: "n", Name: "s", Counts: []discovery.ZoneCount{{Ready: uint32(i)}}}}}, discovery.Version{Epoch: 1, Seq: uint64(3 + i)})
			time.Sleep(10 * time.Millisecond)
			walks[b.wanted.Load()] = true
		}
		require.InDelta(t, 4, len(walks), 1, "one in 10 s of 30")
	})
}

// TestHealthChanges: a policy that is reloaded takes effect, and one that can't
// be kept is refused.
func TestHealthChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		defer b.live()()
		defer b.start(b.lead)()
		time.Sleep(time.Minute)
		require.Error(t, b.setHealth(probe.Health{Interval: time.Millisecond}))
		require.NoError(t, b.setHealth(probe.Health{Interval: time.Second, Timeout: 500 * time.Millisecond, Unhealthy: 2}))
		require.Equal(t, probe.Health{Interval: time.Second, Timeout: 500 * time.Millisecond, Unhealthy: 2, Healthy: 2}, b.health())
		time.Sleep(2 * time.Second)
		b.net.kill("192.0.2.1", true)
		time.Sleep(3 * time.Second)
		require.Equal(t, "down", b.told("192.0.2.1"))
		require.Equal(t, "up", b.told("192.0.2.2"))
		b.table.Apply("west", discovery.Update{Cluster: &discovery.Cluster{Name: "west", UID: "w", PodCIDRs: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/32")}}}, discovery.Version{Epoch: 1, Seq: 2})
		time.Sleep(2 * lookEvery)
		require.Equal(t, time.Second, b.health().Interval, "still")
		require.Equal(t, "unknown", b.told("192.0.2.2"))
	})
}

// TestNobodyLeads: while no Lease can be had, the last one who had it goes on,
// until another one has it.
func TestNobodyLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		defer b.live()()
		defer b.start(func(ctx context.Context) { _ = b.check(ctx) })()
		lose := b.start(b.gateways.lead)
		time.Sleep(time.Minute)
		require.Equal(t, "up", b.told("192.0.2.1"))
		lose()
		b.net.kill("192.0.2.1", true)
		time.Sleep(time.Minute)
		require.Equal(t, "down", b.told("192.0.2.1"), "nobody else would have told")
		require.False(t, b.board.hasYielded())

		b.board.take(found(map[string]bool{"192.0.2.1": false, "192.0.2.2": true}))
		time.Sleep(time.Second)
		require.True(t, b.board.hasYielded())
		dials := b.net.dials("192.0.2.1")
		time.Sleep(time.Minute)
		require.Equal(t, dials, b.net.dials("192.0.2.1"), "the other one checks")

		defer b.start(b.gateways.lead)()
		b.net.kill("192.0.2.1", false)
		time.Sleep(time.Minute)
		require.Equal(t, "up", b.told("192.0.2.1"), "elected again")
	})
}
