package transport

import (
	"container/list"
	"net"
	"sync"
)

// halfOpen bounds connections that have not yet said who they are. When it is
// full, the oldest of the address that has most of them has to go: an honest
// handshake takes a few round trips, so that those who linger lose, and not
// those who come, and a flood from one address pushes out itself.
type halfOpen struct {
	max int

	mu       sync.Mutex
	conns    list.List // of *pending, oldest first
	bySource map[source]int
}

type pending struct {
	conn    net.Conn
	from    source
	evicted bool
}

func newHalfOpen(n int) *halfOpen { return &halfOpen{max: n, bySource: map[source]int{}} }

// enter takes a connection in. The returned function takes it out and tells
// whether it had to go before.
func (h *halfOpen) enter(c net.Conn) (leave func() (evicted bool)) {
	p := &pending{conn: c, from: sourceOf(c.RemoteAddr())}
	h.mu.Lock()
	victim := h.makeRoomLocked()
	e := h.conns.PushBack(p)
	h.bySource[p.from]++
	h.mu.Unlock()
	if victim != nil {
		_ = victim.Close() // its own goroutine sees it and counts it
	}
	return func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		if !p.evicted {
			h.removeLocked(e)
		}
		return p.evicted
	}
}

// makeRoomLocked takes one out if there is no room for another.
func (h *halfOpen) makeRoomLocked() (victim net.Conn) {
	if h.conns.Len() < h.max {
		return nil
	}
	e := h.conns.Front()
	most := h.bySource[e.Value.(*pending).from]
	for o := e.Next(); o != nil; o = o.Next() {
		if n := h.bySource[o.Value.(*pending).from]; n > most {
			e, most = o, n
		}
	}
	p := h.removeLocked(e)
	p.evicted = true
	return p.conn
}

func (h *halfOpen) removeLocked(e *list.Element) *pending {
	p := h.conns.Remove(e).(*pending)
	if h.bySource[p.from]--; h.bySource[p.from] == 0 {
		delete(h.bySource, p.from)
	}
	return p
}
