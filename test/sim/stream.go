package sim

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pair is one connection between two ports.
type pair struct {
	net  *Network
	a, b *Port // a dialed
	kind Kind
	ab   *half
	ba   *half
}

const (
	// firstRetransmit is when a lost segment is sent again: a round trip of
	// 200 ms, by fast retransmit or a timer near it. It doubles.
	firstRetransmit = 200 * time.Millisecond
	// retransmits before a connection breaks: 25 s, about the transport's
	// user timeout and gRPC's keepalive together.
	retransmits = 7
	// hangTime is how long a connection across a cut says nothing before it
	// breaks.
	hangTime = 15 * time.Second
)

// half is one direction: octets with their time of arrival, in order.
type half struct {
	wake chan struct{} // capacity 1; one reader at a time waits

	mu       sync.Mutex
	queue    []segment
	last     time.Time // arrival of the newest octet
	fin      bool
	finAt    time.Time
	err      error // broken
	deadline time.Time
	gone     bool // the reader has closed
	hung     bool
}

type segment struct {
	data []byte
	at   time.Time
}

func newHalf() *half { return &half{wake: make(chan struct{}, 1)} }

func (h *half) poke() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// read takes what has arrived.
func (h *half) read(b []byte) (int, error) {
	for {
		n, wait, err := h.try(b)
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		if wait < 0 {
			<-h.wake
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-h.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// try reads without waiting, or says how long there is nothing to read; less
// than 0 is until woken.
func (h *half) try(b []byte) (n int, wait time.Duration, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	switch {
	case h.gone:
		return 0, 0, net.ErrClosed
	case !h.deadline.IsZero() && !now.Before(h.deadline):
		return 0, 0, os.ErrDeadlineExceeded
	case len(h.queue) > 0 && !now.Before(h.queue[0].at):
		for n < len(b) && len(h.queue) > 0 && !now.Before(h.queue[0].at) {
			c := copy(b[n:], h.queue[0].data)
			n += c
			if h.queue[0].data = h.queue[0].data[c:]; len(h.queue[0].data) == 0 {
				h.queue = h.queue[1:]
			}
		}
		return n, 0, nil
	case h.err != nil:
		return 0, 0, h.err
	case len(h.queue) == 0 && h.fin && !now.Before(h.finAt):
		return 0, 0, io.EOF
	}
	wait = -1
	soonest := func(t time.Time) {
		if d := t.Sub(now); wait < 0 || d < wait {
			wait = d
		}
	}
	if len(h.queue) > 0 {
		soonest(h.queue[0].at)
	} else if h.fin {
		soonest(h.finAt)
	}
	if !h.deadline.IsZero() {
		soonest(h.deadline)
	}
	return 0, wait, nil
}

// put adds octets that arrive after a flight, behind those before them.
func (h *half) put(b []byte, flight time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return h.err
	}
	if h.gone || h.fin {
		return syscall.EPIPE
	}
	if h.hung {
		return nil
	}
	at := time.Now().Add(flight)
	if at.Before(h.last) {
		at = h.last
	}
	h.last = at
	h.queue = append(h.queue, segment{data: append([]byte(nil), b...), at: at})
	h.poke()
	return nil
}

// finish ends the direction behind what was written.
func (h *half) finish(flight time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fin || h.hung {
		return
	}
	h.fin = true
	if h.finAt = time.Now().Add(flight); h.finAt.Before(h.last) {
		h.finAt = h.last
	}
	h.poke()
}

func (h *half) breakOff(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = err
	}
	h.poke()
}

func (h *half) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone, h.queue = true, nil
	h.poke()
}

func (h *half) isGone() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.gone
}

func (h *half) hang() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hung = true
}

func (h *half) setDeadline(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deadline = t
	h.poke()
}

// hang silences the connection for good and breaks it after a while.
func (p *pair) hang() {
	p.ab.hang()
	p.ba.hang()
	time.AfterFunc(hangTime, func() { p.breakOff(syscall.ETIMEDOUT) })
}

func (p *pair) breakOff(err error) {
	p.ab.breakOff(err)
	p.ba.breakOff(err)
}
