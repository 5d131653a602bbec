package transport

import (
	"net"
	"sync"
	"time"
)

// Keepalive finds peers that vanished: after 15 s of silence, three probes 15 s
// apart. userTimeout does the same while data is under way, where TCP alone
// would try for a quarter of an hour (RFC 5482).
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3}

const userTimeout = 20 * time.Second

// conn is a TCP connection of a Transport: counted, and closed at its end.
type conn struct {
	net.Conn
	t        *Transport
	accepted bool

	mu     sync.Mutex
	closed bool
	onEnd  []func()
}

// own takes a TCP connection in. On an error it is still the caller's.
func (t *Transport) own(raw net.Conn, accepted bool) (*conn, error) {
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(keepAlive) // a system without it finds the dead later
		setUserTimeout(tcp, userTimeout)
	}
	c := &conn{Conn: raw, t: t, accepted: accepted}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return nil, errNotRunning
	}
	if accepted && t.accepted >= t.cfg.Limits.Conns {
		return nil, errLimit
	}
	if accepted {
		t.accepted++
	}
	t.open[c] = true
	return c, nil
}

// handOver leaves the connection's end to others; it still counts.
func (c *conn) handOver() {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	if _, ok := c.t.open[c]; ok {
		c.t.open[c] = false
	}
}

// whenClosed calls f when the connection is closed, at once if it is already.
func (c *conn) whenClosed(f func()) {
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.onEnd = append(c.onEnd, f)
	}
	c.mu.Unlock()
	if closed {
		f()
	}
}

// establish counts the connection under its kind until it is closed.
func (c *conn) establish(kind string) {
	g := c.t.metrics.conns.WithLabelValues(kind)
	g.Inc()
	c.whenClosed(g.Dec)
}

// Close closes the connection and tells who asked to be told, once.
func (c *conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	onEnd := c.onEnd
	c.mu.Unlock()

	c.t.mu.Lock()
	delete(c.t.open, c)
	if c.accepted {
		c.t.accepted--
	}
	c.t.mu.Unlock()
	for _, f := range onEnd {
		f()
	}
	return c.Conn.Close()
}

// closeWrite says that no more octets follow; the other direction goes on.
func (c *conn) closeWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.t.metrics.octetsIn.Add(float64(n))
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.t.metrics.octetOut.Add(float64(n))
	return n, err
}
