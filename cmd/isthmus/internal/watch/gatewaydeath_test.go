package watch

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/probe"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/gossip/trust"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

// testPool is a gossip pool in memory.
type testPool struct {
	mu      sync.Mutex
	members map[string]*watcher
}

// watcher is as much of a Watcher as gateways need: a replica with a port, and
// the prober. Watchers of a cluster share no Lease: tests say who leads.
type watcher struct {
	*replica.Replica
	gateways  *gateways
	publisher *replica.Publisher
	peer      replica.Peer
	pool      *testPool
	stop      func()
}

func (w *watcher) Send(member string, msg []byte) error {
	w.pool.mu.Lock()
	to := w.pool.members[member]
	w.pool.mu.Unlock()
	if to == nil {
		return fmt.Errorf("no member %s", member)
	}
	go to.HandleMessage(w.peer.Name, append([]byte(nil), msg...))
	return nil
}

func (w *watcher) Peers() []replica.Peer {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	var peers []replica.Peer
	for name, m := range w.pool.members {
		if name != w.peer.Name {
			peers = append(peers, m.peer)
		}
	}
	return peers
}

// fast is a policy for tests: a death is noticed within 2.5 s.
func fast() probe.Policy {
	return probe.Policy{
		Health:  probe.Health{Interval: 500 * time.Millisecond, Timeout: 200 * time.Millisecond, Unhealthy: 3, Healthy: 2},
		Damping: time.Second,
	}
}

func promise(h probe.Health) time.Duration {
	return h.Interval*time.Duration(h.Unhealthy) + time.Second
}

func clusterOf(name string) *trust.Identity {
	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: name, Role: trust.Watcher})
	if err != nil {
		panic(err)
	}
	return identity
}

// join starts a watcher.
func (p *testPool) join(t *testing.T, name, cluster, addr string) *watcher {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("ISTHMUS_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("member", name)
	}
	table := discovery.NewTable()
	w := &watcher{pool: p, peer: replica.Peer{Name: name + "." + cluster, Cluster: cluster, Addr: addr}}
	var err error
	w.Replica, err = replica.New(replica.Config{
		Member: w.peer.Name, Identity: clusterOf(cluster), Viewer: replica.View{Cluster: cluster}, Table: table, Logger: log,
	})
	require.NoError(t, err)
	w.gateways, err = newGateways(cluster, table, w.Replica, probe.Config{Policy: fast(), Logger: log})
	require.NoError(t, err)
	w.publisher = w.NewPublisher()
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	p.mu.Lock()
	p.members[w.peer.Name] = w
	p.mu.Unlock()
	w.Attach(w)
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = w.Serve(ctx, l) })
	parts.Go(func() { _ = w.Replica.Run(ctx) })
	parts.Go(func() { _ = w.FollowSiblings(ctx) })
	parts.Go(func() { _ = w.gateways.run(ctx) })
	parts.Go(func() { _ = w.gateways.check(ctx) })
	w.stop = sync.OnceFunc(func() {
		p.mu.Lock()
		delete(p.members, w.peer.Name)
		p.mu.Unlock()
		cancel()
		parts.Wait()
	})
	t.Cleanup(w.stop)
	p.mu.Lock()
	members := slices.Collect(maps.Values(p.members))
	p.mu.Unlock()
	for _, m := range members {
		m.PeersChanged()
	}
	return w
}

// lead publishes and checks until the returned function is called.
func (w *watcher) lead(t *testing.T, epochs replica.Epochs) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var both sync.WaitGroup
	both.Go(func() { _ = w.publisher.Lead(ctx, epochs) })
	both.Go(func() { w.gateways.lead(ctx) })
	stop = sync.OnceFunc(func() { cancel(); both.Wait() })
	t.Cleanup(stop)
	return stop
}

func follow(t *testing.T, cluster, addr string) (*replica.Subscriber, func()) {
	s, err := replica.NewSubscriber(replica.SubscriberConfig{Watchers: []string{addr}, Identity: clusterOf(cluster), Table: discovery.NewTable()})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	stop := sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return s, stop
}

// epochs are a cluster's, in memory.
type epochs struct{ last atomic.Uint64 }

func (e *epochs) NextEpoch(_ context.Context, atLeast uint64) (uint64, error) {
	e.last.Store(max(e.last.Load(), atLeast) + 1)
	return e.last.Load(), nil
}

// onLoopback is a record of a cluster whose gateways stand on loopback, which
// lets it connect to those of others there.
func onLoopback(cluster string, list ...discovery.Gateway) discovery.Update {
	if list == nil {
		list = []discovery.Gateway{{Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Port: 1, Check: discovery.CheckNone}}
	}
	for i := range list {
		list[i].Kind = discovery.GatewayStatic
	}
	return discovery.Update{Whole: true, Cluster: &discovery.Cluster{
		Name: cluster, UID: "uid-" + cluster, GatewaySets: []discovery.GatewaySet{{Name: discovery.DefaultGatewaySet, Gateways: list}},
	}}
}

// entrance is a gateway on loopback that can break.
type entrance struct {
	addr  netip.AddrPort
	check discovery.Check
	broke func() // what happens to it
	mend  func()
}

func (e *entrance) gateway() discovery.Gateway {
	return discovery.Gateway{Addresses: []netip.Addr{e.addr.Addr()}, Port: e.addr.Port(), Check: e.check}
}

func (e *entrance) state(g *replica.GatewayStates) string {
	return statusOf(g.State("east", replica.GatewayAddress{AddrPort: e.addr, Check: e.check})).String()
}

// door is a listener on loopback that can be shut, and be deaf.
type door struct {
	t      *testing.T
	addr   string
	answer func(net.Conn)
	mu     sync.Mutex
	l      *net.TCPListener
	served sync.WaitGroup
	queued []net.Conn // that keep a deaf door's queue full
}

// newDoor opens one whose queue has room for one connection, so that it can be
// filled.
func newDoor(t *testing.T, answer func(net.Conn)) *door {
	d := &door{t: t, addr: freeport.Addr(t), answer: answer}
	d.open()
	t.Cleanup(d.shut)
	return d
}

func (d *door) open() {
	addr := netip.MustParseAddrPort(d.addr)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(d.t, err)
	require.NoError(d.t, syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
	require.NoError(d.t, syscall.Bind(fd, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}))
	require.NoError(d.t, syscall.Listen(fd, 0))
	file := os.NewFile(uintptr(fd), d.addr)
	defer file.Close()
	l, err := net.FileListener(file)
	require.NoError(d.t, err)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.l = l.(*net.TCPListener)
	d.serve()
}

func (d *door) serve() {
	l := d.l
	d.served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			d.served.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Second))
				d.answer(conn)
			})
		}
	})
}

// shut is the end of the process.
func (d *door) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.l.Close()
	for _, conn := range d.queued {
		conn.Close()
	}
	d.queued = nil
	d.served.Wait()
}

// ignore has packets dropped: nobody takes connections, and the kernel drops
// what is beyond its queue.
func (d *door) ignore() {
	d.mu.Lock()
	defer d.mu.Unlock()
	require.NoError(d.t, d.l.SetDeadline(time.Unix(1, 0)))
	d.served.Wait()
	for {
		conn, err := net.DialTimeout("tcp", d.addr, 100*time.Millisecond)
		if err != nil {
			return
		}
		d.queued = append(d.queued, conn)
	}
}

func (d *door) heed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	require.NoError(d.t, d.l.SetDeadline(time.Time{}))
	d.serve()
	for _, conn := range d.queued {
		conn.Close()
	}
	d.queued = nil
}

// entrances are four that break in four ways.
func entrances(t *testing.T) map[string]*entrance {
	at := func(d *door, check discovery.Check) *entrance {
		return &entrance{addr: netip.MustParseAddrPort(d.addr), check: check, broke: d.shut, mend: d.open}
	}
	killed := at(newDoor(t, func(net.Conn) {}), discovery.CheckTCP)
	deaf := newDoor(t, func(net.Conn) {})
	dropped := at(deaf, discovery.CheckTCP)
	dropped.broke, dropped.mend = deaf.ignore, deaf.heed

	var garbled, unavailable atomic.Bool
	certificate := someCertificate(t)
	secure := at(newDoor(t, func(conn net.Conn) {
		if garbled.Load() {
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = io.WriteString(conn, "220 mail.example ESMTP\r\n")
			return
		}
		_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}}).Handshake()
	}), discovery.CheckTLS)
	secure.broke, secure.mend = func() { garbled.Store(true) }, func() { garbled.Store(false) }
	web := at(newDoor(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		status := http.StatusOK
		if unavailable.Load() {
			status = http.StatusServiceUnavailable
		}
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n", status)
	}), discovery.CheckHTTP)
	web.broke, web.mend = func() { unavailable.Store(true) }, func() { unavailable.Store(false) }
	return map[string]*entrance{"process killed": killed, "packets dropped": dropped, "TLS broken": secure, "HTTP 503": web}
}

// generous is how long tests wait for what takes promise(): the machine may be
// busy.
const generous = 20 * time.Second

// until waits until all agents have an entrance in a state, and returns how long
// that took from the given time.
func until(t *testing.T, began time.Time, agents []*replica.Subscriber, e *entrance, state string) time.Duration {
	t.Helper()
	for _, s := range agents {
		require.Eventually(t, func() bool { return e.state(s.Gateways()) == state }, generous, 5*time.Millisecond, state)
	}
	return time.Since(began)
}

// TestGatewayDiesAndReturns: what breaks is told to every agent of the cluster,
// whichever watcher it has, and so is its return. Nothing is said of others.
func TestGatewayDiesAndReturns(t *testing.T) {
	idle := runtime.NumGoroutine()
	pool := &testPool{members: map[string]*watcher{}}
	all := entrances(t)
	east := pool.join(t, "e0", "east", freeport.Addr(t))
	west := []*watcher{pool.join(t, "w0", "west", freeport.Addr(t)), pool.join(t, "w1", "west", freeport.Addr(t))}
	var gateways []discovery.Gateway
	for _, e := range all {
		gateways = append(gateways, e.gateway())
	}
	east.publisher.Update(onLoopback("east", gateways...))
	stops := []func(){east.lead(t, &epochs{})}
	west[0].publisher.Update(onLoopback("west"))
	stops = append(stops, west[0].lead(t, &epochs{}))
	var agents []*replica.Subscriber
	for i := range 5 {
		s, stop := follow(t, "west", west[i%2].peer.Addr)
		agents, stops = append(agents, s), append(stops, stop)
	}
	for _, e := range all {
		until(t, time.Now(), agents, e, "up")
	}
	h := fast().Health
	for what, e := range all {
		began := time.Now()
		e.broke()
		down := until(t, began, agents, e, "down")
		for other, o := range all {
			if other != what {
				for _, s := range agents {
					require.Equal(t, "up", o.state(s.Gateways()), "%s, though it was %s", other, what)
				}
			}
		}
		began = time.Now()
		e.mend()
		up := until(t, began, agents, e, "up")
		t.Logf("%s: down in all agents after %v (promised: %v), up again after %v", what, down, promise(h), up)
	}
	for _, s := range agents {
		g := s.Gateways()
		for _, e := range all {
			rtt := g.State("east", replica.GatewayAddress{AddrPort: e.addr, Check: e.check}).RTT
			require.Positive(t, rtt)
			require.Less(t, rtt, time.Second)
		}
	}

	for i := len(stops) - 1; i >= 0; i-- {
		stops[i]()
	}
	for _, w := range append(west, east) {
		w.stop()
	}
	// Doors have a loop each until the test ends.
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= idle+len(all)+2 }, generous, 10*time.Millisecond, "goroutines stay")
}

// someCertificate is one that no client trusts: a check doesn't ask whose it is.
func someCertificate(t *testing.T) tls.Certificate {
	a, err := trust.NewAuthority("other")
	require.NoError(t, err)
	cert, key, err := a.Issue(trust.ID{Clusterset: "other", Cluster: "east", Role: trust.Watcher}, time.Hour)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(cert, key)
	require.NoError(t, err)
	return pair
}

// lookout sees every set of states that an agent has, and keeps what an entrance
// was in them.
type lookout struct {
	mu   sync.Mutex
	seen map[string]bool
	stop func()
}

func watchOver(t *testing.T, s *replica.Subscriber, e *entrance) *lookout {
	o := &lookout{seen: map[string]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			o.mu.Lock()
			o.seen[e.state(s.Gateways())] = true
			o.mu.Unlock()
			time.Sleep(100 * time.Microsecond)
		}
	})
	o.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(o.stop)
	return o
}

func (o *lookout) saw(state string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen[state]
}

// only wants that nothing else was seen.
func (o *lookout) only(t *testing.T, state string) {
	t.Helper()
	o.stop()
	require.Equal(t, map[string]bool{state: true}, o.seen)
}

// TestLeaderOfChecksDies: what it found stays until its successor finds something
// else, in all agents.
func TestLeaderOfChecksDies(t *testing.T) {
	pool := &testPool{members: map[string]*watcher{}}
	east := pool.join(t, "e0", "east", freeport.Addr(t))
	var west []*watcher
	for i := range 3 {
		west = append(west, pool.join(t, fmt.Sprint("w", i), "west", freeport.Addr(t)))
	}
	good, bad := newDoor(t, func(net.Conn) {}), newDoor(t, func(net.Conn) {})
	up := &entrance{addr: netip.MustParseAddrPort(good.addr), check: discovery.CheckTCP}
	down := &entrance{addr: netip.MustParseAddrPort(bad.addr), check: discovery.CheckTCP}
	bad.shut()
	east.publisher.Update(onLoopback("east", up.gateway(), down.gateway()))
	east.lead(t, &epochs{})
	store := &epochs{}
	for _, w := range west {
		w.publisher.Update(onLoopback("west"))
	}
	stepDown := west[0].lead(t, store)
	var agents []*replica.Subscriber
	for _, w := range west {
		s, _ := follow(t, "west", w.peer.Addr)
		agents = append(agents, s)
	}
	lost, moved := agents[0], agents[1:]
	until(t, time.Now(), agents, up, "up")
	until(t, time.Now(), agents, down, "down")

	var lookouts []*lookout
	for _, s := range agents {
		lookouts = append(lookouts, watchOver(t, s, down))
	}
	west[0].stop() // its siblings know nothing before their streams end
	stepDown()
	second := west[1].lead(t, store)
	began := time.Now()
	good.shut()
	took := until(t, began, moved, up, "down")
	t.Logf("the next leader tells of a death after %v (promised: %v)", took, promise(fast().Health))
	second() // in order: it goes on until there is another one
	time.Sleep(500 * time.Millisecond)
	west[2].lead(t, store)
	began = time.Now()
	good.open()
	took = until(t, began, moved, up, "up")
	t.Logf("the third one tells of its return after %v", took)
	for _, o := range lookouts {
		o.only(t, "down")
	}
	require.Equal(t, "up", up.state(lost.Gateways()), "an agent without a watcher has what it had")
}

// TestOnlyWatcherRestarts: agents keep what it found until it knows again.
func TestOnlyWatcherRestarts(t *testing.T) {
	pool := &testPool{members: map[string]*watcher{}}
	east := pool.join(t, "e0", "east", freeport.Addr(t))
	addr := freeport.Addr(t)
	west := pool.join(t, "w0", "west", addr)
	door := newDoor(t, func(net.Conn) {})
	down := &entrance{addr: netip.MustParseAddrPort(door.addr), check: discovery.CheckTCP}
	door.shut()
	east.publisher.Update(onLoopback("east", down.gateway()))
	east.lead(t, &epochs{})
	store := &epochs{}
	west.publisher.Update(onLoopback("west"))
	stepDown := west.lead(t, store)
	s, _ := follow(t, "west", addr)
	until(t, time.Now(), []*replica.Subscriber{s}, down, "down")
	o := watchOver(t, s, down)
	west.stop()
	stepDown()
	require.Eventually(t, s.Stale, generous, 5*time.Millisecond)

	west = pool.join(t, "w0", "west", addr)
	west.HandleDigest(east.Digest()) // a starting member exchanges what it knows
	west.publisher.Update(onLoopback("west"))
	west.lead(t, store)
	require.Eventually(t, func() bool { return !s.Stale() }, generous, 5*time.Millisecond)
	held := s.Gateways()
	require.Eventually(t, func() bool {
		states, _ := west.Gateways()
		return states.State("east", replica.GatewayAddress{AddrPort: down.addr, Check: discovery.CheckTCP}).Known
	}, generous, 5*time.Millisecond)
	door.open()
	until(t, time.Now(), []*replica.Subscriber{s}, down, "up")
	require.Eventually(t, func() bool { return o.saw("up") }, generous, time.Millisecond)
	o.stop()
	require.Equal(t, map[string]bool{"down": true, "up": true}, o.seen, "and never unknown")
	require.NotSame(t, held, s.Gateways())
}
