package gossip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// network is a network in memory: buffered, losing what does not fit, like the
// real one. Links can be cut.
type network struct {
	mu    sync.Mutex
	ports map[string]*port
	cut   func(from, to string) bool // by member name; nil: nothing is cut
}

func newNetwork() *network { return &network{ports: map[string]*port{}} }

func (n *network) partition(cut func(from, to string) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
}

// to finds who listens at an address, if a packet gets there.
func (n *network) to(from *port, addr string) (*port, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.ports[addr]
	if p == nil || n.ports[from.addr.String()] != from || n.cut != nil && n.cut(from.name, p.name) {
		return nil, errors.New("no route to " + addr)
	}
	return p, nil
}

// port is one member's Transport.
type port struct {
	net     *network
	name    string
	addr    net.Addr
	packets chan Packet
	streams chan net.Conn
}

var _ Transport = (*port)(nil)

func (n *network) listen(name, addr string) *port {
	p := &port{
		net: n, name: name, addr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr)),
		packets: make(chan Packet, 1024), streams: make(chan net.Conn, 16),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports[addr] = p
	return p
}

func (n *network) unplug(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.ports, addr)
}

func (p *port) WritePacket(b []byte, to Peer) (time.Time, error) {
	dest, err := p.net.to(p, to.Addr)
	if err != nil {
		return time.Time{}, err
	}
	now := time.Now()
	select {
	case dest.packets <- Packet{Buf: b, From: p.addr, Sender: p.name, At: now}:
		return now, nil
	default:
		return now, errors.New("queue full")
	}
}

func (p *port) Dial(_ context.Context, to Peer) (net.Conn, error) {
	dest, err := p.net.to(p, to.Addr)
	if err != nil {
		return nil, err
	}
	if dest == p {
		return nil, ErrSelf
	}
	if to.Name != "" && to.Name != dest.name {
		return nil, errors.New("answered by " + dest.name)
	}
	here, there := net.Pipe()
	select {
	case dest.streams <- there:
		return here, nil
	default:
		return nil, errors.New("queue full")
	}
}

func (p *port) Packets() <-chan Packet   { return p.packets }
func (p *port) Streams() <-chan net.Conn { return p.streams }

// recorder is a Handler that remembers.
type recorder struct {
	digest string

	mu       sync.Mutex
	messages []string
	digests  map[string]int
	changes  int
}

func (r *recorder) HandleMessage(_ string, msg []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, string(msg))
}

func (r *recorder) Digest() []byte { return []byte(r.digest) }

func (r *recorder) HandleDigest(b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.digests == nil {
		r.digests = map[string]int{}
	}
	r.digests[string(b)]++
}

func (r *recorder) PeersChanged() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes++
}

// counts are the number of a peer's digests and of membership changes.
func (r *recorder) counts(digest string) (digests, changes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.digests[digest], r.changes
}

// got are the distinct messages in the order of their first arrival.
func (r *recorder) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[string]bool{}
	var list []string
	for _, m := range r.messages {
		if !seen[m] {
			seen[m] = true
			list = append(list, m)
		}
	}
	return list
}

// node is a running member.
type node struct {
	*Pool
	*recorder
	port *port
	stop func() // waits for Run; idempotent
}

func (n *node) names() []string {
	var names []string
	for _, m := range n.Members() {
		names = append(names, m.Name)
	}
	return names
}

// start runs a member until the test's end.
func (n *network) start(t *testing.T, cfg Config) *node {
	t.Helper()
	nd := &node{recorder: &recorder{digest: "digest of " + cfg.Name}}
	nd.port = n.listen(cfg.Name, cfg.Advertise)
	cfg.Transport, cfg.Handler = nd.port, nd.recorder
	pool, err := New(cfg)
	require.NoError(t, err)
	nd.Pool = pool
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- pool.Run(ctx) }()
	nd.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return nd
}

// bubble runs a test on fake time and lets memberlist's last goroutines end:
// the longest is a probe, eight probe intervals at worst.
func bubble(t *testing.T, f func(t *testing.T, n *network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(5 * time.Minute) // also when f fails
		f(t, newNetwork())
	})
}
