package transport

import (
	"container/list"
	"net"
	"sync"
)

// halfOpen bounds connections that have not yet said who they are. When it is
// full, the oldest has to go: an honest handshake takes a few round trips, so
// that those who linger lose, and not those who come.
type halfOpen struct {
	max int

	mu    sync.Mutex
	conns list.List // of *pending, oldest first
}

type pending struct {
	conn    net.Conn
	evicted bool
}

func newHalfOpen(n int) *halfOpen { return &halfOpen{max: n} }

// enter takes a connection in. The returned function takes it out and tells
// whether it had to go before.
func (h *halfOpen) enter(c net.Conn) (leave func() (evicted bool)) {
	h.mu.Lock()
	var victim net.Conn
	if h.conns.Len() >= h.max {
		p := h.conns.Remove(h.conns.Front()).(*pending)
		p.evicted, victim = true, p.conn
	}
	p := &pending{conn: c}
	e := h.conns.PushBack(p)
	h.mu.Unlock()
	if victim != nil {
		_ = victim.Close() // its own goroutine sees it and counts it
	}
	return func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.conns.Remove(e) // does nothing when it is out already
		return p.evicted
	}
}
