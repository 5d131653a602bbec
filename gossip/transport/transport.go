package transport

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// ProtoGossip is the ALPN protocol of gossip connections.
const ProtoGossip = "isthmus-gossip/1"

// protoGRPC is the ALPN protocol of gRPC (HTTP/2, RFC 9113 section 3.2).
const protoGRPC = "h2"

const (
	// packetBuffer is how many packets wait for the pool. When it is full,
	// readers wait in turn, and TCP slows their peers down.
	packetBuffer = 256
	streamBuffer = 16

	// Refusals in the log: enough to see a scan, too few to fill a disk.
	logRate, logBurst = 5, 20
)

var (
	errNotRunning = errors.New("gossip transport is not running")
	errLimit      = errors.New("too many connections")
	errRate       = errors.New("connections come too fast from this address")
)

// Transport is one port for a watcher's gossip and gRPC. Make it with Listen,
// then Run it.
type Transport struct {
	cfg      Config
	id       trust.ID
	instance [8]byte
	log      *slog.Logger
	logLimit *rate.Limiter
	metrics  *metrics
	listener net.Listener
	grpc     *grpcListener
	halfOpen *halfOpen
	arrivals *arrivals
	meters   *meters
	holdings *holdings
	vouched  *vouched
	siblings *siblings

	packets chan gossip.Packet
	streams chan net.Conn
	started chan struct{} // closed when Run begins

	wg sync.WaitGroup // everything that spawn started

	mu       sync.Mutex
	ctx      context.Context // Run's; nil before
	ended    bool
	open     map[*conn]bool // true: to be closed at the end
	accepted int            // of open
	links    map[string]*link
	linksOf  map[string]int // links by cluster
	incoming map[string]int // accepted streams by member
	inStream int            // their sum

	splicesBy map[source]int
	inSplice  int // their sum
}

var _ gossip.Transport = (*Transport)(nil)

// Listen binds the port, so that a busy one is an error at start. Connections
// wait in the system's queue until Run.
func Listen(cfg Config) (*Transport, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Limits.setDefaults()
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	t := &Transport{
		cfg: cfg, id: cfg.Identity.ID(), log: cfg.Logger,
		logLimit: rate.NewLimiter(logRate, logBurst),
		metrics:  newMetrics(),
		halfOpen: newHalfOpen(cfg.Limits.Handshakes),
		arrivals: newArrivals(cfg.Limits.Rates),
		meters:   newMeters(cfg.Limits.Rates, cfg.Identity.ID().Cluster),
		holdings: &holdings{n: map[holding]int{}},
		vouched:  &vouched{conns: map[*conn]*tls.Conn{}},
		packets:  make(chan gossip.Packet, packetBuffer),
		streams:  make(chan net.Conn, streamBuffer),
		started:  make(chan struct{}),
		open:     map[*conn]bool{},
		links:    map[string]*link{},
		linksOf:  map[string]int{},
		incoming: map[string]int{},

		splicesBy: map[source]int{},
	}
	t.siblings = newSiblings(t, slices.Clone(cfg.Siblings))
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	_, _ = rand.Read(t.instance[:]) // never fails (crypto/rand)
	l, err := net.Listen("tcp", cfg.Listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("gossip address %s is in use: stop the process that listens there, or set gossip.listen to another port", cfg.Listen)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("gossip address %s is not this machine's: set gossip.listen to a local address, and gossip.advertise to the one that others reach", cfg.Listen)
	case err != nil:
		return nil, fmt.Errorf("gossip address %s: %w", cfg.Listen, err)
	}
	if err := t.metrics.register(cfg.Registerer); err != nil {
		_ = l.Close() // it was never used
		return nil, fmt.Errorf("gossip transport metrics: %w", err)
	}
	t.listener = l
	t.grpc = newGRPCListener(l.Addr())
	return t, nil
}

// Addr is the bound address.
func (t *Transport) Addr() net.Addr { return t.listener.Addr() }

// GRPC is a listener for a gRPC server. It yields connections of the
// clusterset's watchers and agents, of any cluster: *tls.Conn with a finished
// handshake, or plain ones if the identity is insecure. Who may do what is the
// server's to decide (trust.PeerID).
func (t *Transport) GRPC() net.Listener { return t.grpc }

// Packets delivers packets from all peers.
func (t *Transport) Packets() <-chan gossip.Packet { return t.packets }

// Streams delivers streams from all peers.
func (t *Transport) Streams() <-chan net.Conn { return t.streams }

// Run serves until ctx ends, and returns when everything of it has ended but
// the gRPC connections that were handed out: those are their server's. It may
// be called once.
func (t *Transport) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.mu.Lock()
	if t.ctx != nil {
		t.mu.Unlock()
		return errors.New("gossip transport: Run was called before")
	}
	t.ctx = ctx
	t.mu.Unlock()
	close(t.started)
	if len(t.cfg.Siblings) > 0 {
		t.spawn(func() { t.siblings.run(ctx) })
	}
	stop := context.AfterFunc(ctx, func() { _ = t.listener.Close() })
	defer stop()

	t.spawn(func() { t.keepTrust(ctx) })

	err := t.accept(ctx)
	cancel()
	t.end()
	t.wg.Wait()
	t.grpc.shut()
	for {
		select {
		case c := <-t.streams:
			_ = c.Close() // nobody has seen it
		default:
			return err
		}
	}
}

// accept gives each connection its goroutine until the listener is closed.
func (t *Transport) accept(ctx context.Context) error {
	const first, last = 5 * time.Millisecond, time.Second // as net/http
	wait := first
	for {
		raw, err := t.listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = raw.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("gossip listener: %w", err)
		case err != nil: // out of file descriptors, or the peer gave up
			t.log.Warn("connection not accepted", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			wait = min(2*wait, last)
			continue
		}
		wait = first
		// What siblings hand on was counted where it arrived.
		if from := sourceOf(raw.RemoteAddr()); !t.siblings.at(from) && !t.arrivals.allow(from) {
			t.refuse(raw.RemoteAddr(), refusedRate, errRate)
			_ = raw.Close()
			continue
		}
		c, err := t.own(raw, true)
		if err != nil {
			t.refuse(raw.RemoteAddr(), refusedLimit, err)
			_ = raw.Close()
			continue
		}
		t.spawn(func() { t.serve(ctx, c) })
	}
}

// spawn starts a goroutine that Run waits for, unless Run has ended.
func (t *Transport) spawn(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.spawnLocked(f)
}

func (t *Transport) spawnLocked(f func()) bool {
	if t.ended || t.ctx == nil {
		return false
	}
	t.wg.Go(f)
	return true
}

// end closes what is open.
func (t *Transport) end() {
	t.mu.Lock()
	t.ended = true
	var all []*conn
	for c, ours := range t.open {
		if ours {
			all = append(all, c)
		}
	}
	t.mu.Unlock()
	for _, c := range all {
		_ = c.Close() // an end without words: peers see a closed connection
	}
}

// refuse counts and logs a refused connection.
func (t *Transport) refuse(from net.Addr, reason string, err error) {
	t.metrics.refused.WithLabelValues(reason).Inc()
	if t.logLimit.Allow() {
		t.log.Warn("connection refused", "from", from.String(), "reason", reason, "error", err)
	}
}

// Close gives the port back of a transport that is not run after all.
func (t *Transport) Close() error { return t.listener.Close() }
