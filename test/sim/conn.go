package sim

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// conn is one end of a pair.
type conn struct {
	pair      *pair
	local     *Port
	remote    *Port
	in, out   *half
	closeOnce sync.Once
}

var _ net.Conn = (*conn)(nil)

func (p *pair) ends() (dialed, accepted *conn) {
	return &conn{pair: p, local: p.a, remote: p.b, in: p.ba, out: p.ab},
		&conn{pair: p, local: p.b, remote: p.a, in: p.ab, out: p.ba}
}

// Read gives octets when their time has come. One goroutine at a time may call
// it.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	if n > 0 {
		c.local.meters.received.stream(c.pair.kind, n)
	}
	return n, err
}

// Write never blocks: windows are left to the protocols above.
func (c *conn) Write(b []byte) (int, error) {
	c.local.meters.sent.stream(c.pair.kind, len(b))
	flight, ok := c.pair.net.stream(c.local, c.remote, len(b))
	if !ok {
		c.pair.breakOff(syscall.ETIMEDOUT)
		return 0, syscall.ETIMEDOUT
	}
	if err := c.out.put(b, flight); err != nil {
		return 0, err
	}
	return len(b), nil
}

// stream is how long octets of a stream take: as long as their unluckiest
// segment. They don't arrive when one is lost too often.
func (n *Network) stream(from, to *Port, octets int) (time.Duration, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cutLocked(from, to) {
		return 0, true // the half is hung
	}
	worst := n.delayLocked()
	for range segments(octets) {
		flight, wait, lost := n.link.Delay, firstRetransmit, 0
		for n.rng.Float64() < n.link.Loss {
			if lost++; lost > retransmits {
				return 0, false
			}
			flight += wait
			wait *= 2
		}
		worst = max(worst, flight)
	}
	return worst, true
}

// Close ends both directions.
func (c *conn) Close() error {
	c.closeOnce.Do(func() {
		c.in.leave()
		flight, ok := c.pair.net.stream(c.local, c.remote, 1)
		if !ok {
			flight = hangTime
		}
		c.out.finish(flight)
		c.pair.net.forget(c.pair)
	})
	return nil
}

// forget is leave once both ends are closed.
func (n *Network) forget(p *pair) {
	if p.ab.isGone() && p.ba.isGone() {
		n.leave(p)
	}
}

func (c *conn) LocalAddr() net.Addr  { return c.local.addr }
func (c *conn) RemoteAddr() net.Addr { return c.remote.addr }

func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(t)
	return nil
}

// SetWriteDeadline does nothing: Write doesn't block.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
