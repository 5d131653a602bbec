package scale

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/transport"
)

// hub joins light watchers without TLS between them: 200 would hold 20,000
// connections, and shake hands for all of them on the processor that the real
// ones are measured on.
type hub struct {
	mu    sync.Mutex
	ports map[string]*port // by address
}

// port is a light watcher's transport: the product's to real watchers, memory
// to light ones.
type port struct {
	*transport.Transport
	hub     *hub
	addr    net.Addr
	packets chan gossip.Packet
	streams chan net.Conn
}

var _ gossip.Transport = (*port)(nil)

var errBusy = errors.New("light watcher is busy")

func (h *hub) join(t *transport.Transport) *port {
	p := &port{Transport: t, hub: h, addr: t.Addr(), packets: make(chan gossip.Packet, 1024), streams: make(chan net.Conn, 16)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ports == nil {
		h.ports = map[string]*port{}
	}
	h.ports[p.addr.String()] = p
	return p
}

func (h *hub) find(addr string) *port {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ports[addr]
}

// run hands on what real watchers send.
func (p *port) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case packet := <-p.Transport.Packets():
			p.packets <- packet
		case c := <-p.Transport.Streams():
			p.streams <- c
		}
	}
}

func (p *port) WritePacket(b []byte, to gossip.Peer) (time.Time, error) {
	other := p.hub.find(to.Addr)
	if other == nil {
		return p.Transport.WritePacket(b, to)
	}
	now := time.Now()
	select {
	case other.packets <- gossip.Packet{Buf: b, From: p.addr, At: now}:
		return now, nil
	default:
		return now, errBusy
	}
}

func (p *port) Dial(ctx context.Context, to gossip.Peer) (net.Conn, error) {
	other := p.hub.find(to.Addr)
	switch {
	case other == nil:
		return p.Transport.Dial(ctx, to)
	case other == p:
		return nil, gossip.ErrSelf
	}
	ours, theirs := net.Pipe()
	select {
	case other.streams <- theirs:
		return ours, nil
	default:
		return nil, errBusy
	}
}

func (p *port) Packets() <-chan gossip.Packet { return p.packets }
func (p *port) Streams() <-chan net.Conn      { return p.streams }
