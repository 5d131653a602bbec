package probe_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery/probe"
)

// mode is how an address behaves.
type mode uint8

const (
	accept  mode = iota
	refuse       // nobody listens
	drop         // packets get lost
	exhaust      // this machine has no descriptor left
	stall        // this process stands still for a minute
	forsake      // the same, and meanwhile the peer gives up
	awake        // the same, but the connection is there when it goes on
	noRoute      // a router says that there is no way
)

// network is what probers dial in tests: it runs on a bubble's clock.
type network struct {
	mu     sync.Mutex
	modes  map[netip.AddrPort]mode
	delay  func(netip.AddrPort) time.Duration // a round trip; nil is 1 ms
	starts map[netip.AddrPort][]time.Time     // of each attempt
	all    []time.Time
	open   int // attempts that wait, and connections
	most   int // the greatest value of open
}

func newNetwork() *network {
	return &network{modes: map[netip.AddrPort]mode{}, starts: map[netip.AddrPort][]time.Time{}}
}

func (n *network) set(a netip.AddrPort, m mode) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.modes[a] = m
}

func (n *network) began(a netip.AddrPort) []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.starts[a])
}

func (n *network) times() []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.all)
}

func (n *network) enter(a netip.AddrPort) (m mode, delay time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	n.starts[a] = append(n.starts[a], now)
	n.all = append(n.all, now)
	n.open++
	n.most = max(n.most, n.open)
	delay = time.Millisecond
	if n.delay != nil {
		delay = n.delay(a)
	}
	return n.modes[a], delay
}

func (n *network) leave() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open--
}

func (n *network) dial(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
	m, delay := n.enter(a)
	fail := func(err error) (net.Conn, error) {
		n.leave()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	switch m {
	case refuse:
		return fail(os.NewSyscallError("connect", syscall.ECONNREFUSED))
	case exhaust:
		return fail(os.NewSyscallError("socket", syscall.EMFILE))
	case noRoute:
		return fail(os.NewSyscallError("connect", syscall.ENETUNREACH))
	case stall: // ctx ends while nobody runs
		time.Sleep(time.Minute)
		return fail(context.DeadlineExceeded)
	case forsake:
		time.Sleep(time.Minute)
		return fail(os.NewSyscallError("connect", syscall.ECONNRESET))
	case awake:
		delay = 0
		time.Sleep(time.Minute)
		ctx = context.Background()
	case drop:
		<-ctx.Done()
		return fail(ctx.Err())
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return fail(ctx.Err())
	}
	ours, theirs := net.Pipe()
	return &counted{Conn: ours, peer: theirs, leave: sync.OnceFunc(n.leave)}, nil
}

// counted is a connection whose end the network notices.
type counted struct {
	net.Conn
	peer  net.Conn
	leave func()
}

func (c *counted) Close() error {
	c.leave()
	return errors.Join(c.peer.Close(), c.Conn.Close())
}

// at is an address and port of the documentation's networks.
func at(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18 + byte(i>>16&1), byte(i >> 8), byte(i)}), 443)
}

func target(cluster string, a netip.AddrPort) probe.Target {
	return probe.Target{Cluster: cluster, Addr: a.Addr(), Port: a.Port()}
}

// crowd is so many clusters with so many gateways each.
func crowd(clusters, gateways int) []probe.Target {
	var targets []probe.Target
	for c := range clusters {
		for g := range gateways {
			targets = append(targets, target(fmt.Sprintf("c%d", c), at(c*gateways+g)))
		}
	}
	return targets
}

func seeded(seed uint64) func() float64 {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 0))
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return r.Float64()
	}
}

// start makes a prober and runs it until the test ends. Inside a bubble the
// test fails if it leaves a goroutine behind.
func start(t *testing.T, n *network, cfg probe.Config) *probe.Prober {
	t.Helper()
	p, stop := startUntil(t, n, cfg)
	t.Cleanup(stop)
	return p
}

func startUntil(t *testing.T, n *network, cfg probe.Config) (p *probe.Prober, stop func()) {
	t.Helper()
	if n != nil {
		cfg.Dial = n.dial
	}
	if cfg.Random == nil {
		cfg.Random = seeded(1)
	}
	p, err := probe.New(cfg)
	require.NoError(t, err)
	return p, run(t, p)
}

// run runs a prober and returns what stops it.
func run(t *testing.T, p *probe.Prober) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

// bubble runs a test on a clock of its own.
func bubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// await waits on the bubble's clock until a target has a status, and returns
// when that was.
func await(t *testing.T, p *probe.Prober, target probe.Target, want probe.Status, within time.Duration) time.Time {
	t.Helper()
	timeout := time.After(within)
	for {
		s := p.Snapshot()
		if s.State(target).Status == want {
			return time.Now()
		}
		select {
		case <-s.Outdated():
		case <-timeout:
			require.FailNow(t, "no such status in time", "%s is not %s after %s", target.Addr, want, within)
		}
	}
}
