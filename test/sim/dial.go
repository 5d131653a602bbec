package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/replica"
)

const (
	// streamBacklog is how many connections wait to be accepted.
	streamBacklog = 256
	// handshakes are the round trips before the first octet: TCP's and TLS's.
	handshakes = 2
	// firstSYN is when a lost SYN is sent again (RFC 6298). It doubles.
	firstSYN = time.Second
)

var (
	errRefused = errors.New("connection refused")
	errName    = errors.New("somebody else answers")
)

// Dial implements gossip.Transport.
func (p *Port) Dial(ctx context.Context, to gossip.Peer) (net.Conn, error) {
	return p.dial(ctx, to.Name, to.Addr, PushPull)
}

// DialPull implements replica.Dialer.
func (p *Port) DialPull(ctx context.Context, to replica.Peer) (net.Conn, error) {
	return p.dial(ctx, to.Name, to.Addr, Pulls)
}

// Streams implements gossip.Transport.
func (p *Port) Streams() <-chan net.Conn { return p.streams }

func (p *Port) dial(ctx context.Context, name, addr string, k Kind) (net.Conn, error) {
	dest, err := p.net.find(addr)
	if err != nil {
		return nil, err
	}
	if dest == p {
		return nil, gossip.ErrSelf
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.shaken(ctx, dest):
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if name != "" && name != dest.name {
		return nil, fmt.Errorf("%s: %w", dest.name, errName)
	}
	return p.connect(dest, k)
}

// shaken is closed when the handshakes are done; never across a cut.
func (p *Port) shaken(ctx context.Context, dest *Port) <-chan struct{} {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	done := make(chan struct{})
	if p.net.cutLocked(p, dest) {
		return done
	}
	var took time.Duration
	for trip := range 2 * handshakes {
		wait := firstRetransmit
		if trip == 0 {
			wait = firstSYN
		}
		took += p.net.delayLocked()
		for p.net.rng.Float64() < p.net.link.Loss {
			took += wait
			wait *= 2
		}
	}
	timer := time.AfterFunc(took, func() { close(done) })
	context.AfterFunc(ctx, func() { timer.Stop() })
	return done
}

// connect puts a connection into the other's backlog.
func (p *Port) connect(dest *Port, k Kind) (net.Conn, error) {
	pr := &pair{net: p.net, a: p, b: dest, kind: k, ab: newHalf(), ba: newHalf()}
	here, there := pr.ends()
	if !p.net.enter(pr) || !dest.offer(there, k) {
		p.net.leave(pr)
		return nil, errRefused
	}
	for _, m := range []*meters{&p.meters, &dest.meters} {
		m.sent.streams.Add(1)
		m.received.streams.Add(1)
	}
	return here, nil
}

// enter adds a connection to those that a cut to come will hang, unless there
// is one already.
func (n *Network) enter(p *pair) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cutLocked(p.a, p.b) {
		return false
	}
	n.conns[p] = struct{}{}
	return true
}

func (n *Network) leave(p *pair) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, p)
}

func (p *Port) offer(c net.Conn, k Kind) bool {
	queue := p.streams
	if k == Pulls {
		queue = p.pulls.queue
		select {
		case <-p.pulls.closed:
			return false
		default:
		}
	}
	select {
	case queue <- c:
		return true
	default:
		return false
	}
}

// listener accepts pulls.
type listener struct {
	addr   net.Addr
	queue  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newListener(addr net.Addr) *listener {
	return &listener{addr: addr, queue: make(chan net.Conn, streamBacklog), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	case c := <-l.queue:
		return c, nil
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.addr }
