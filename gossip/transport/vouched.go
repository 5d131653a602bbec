package transport

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"sync"
	"time"
)

// vouched are the open connections under TLS, gRPC's included, so that a root
// that is no longer trusted ends those that it vouched for: a watcher of a
// cluster that was thrown out would otherwise stay for as long as it likes.
type vouched struct {
	mu    sync.Mutex
	conns map[*conn]*tls.Conn
}

// vouch remembers a connection until it is closed.
func (t *Transport) vouch(c *conn, secured net.Conn) {
	s, ok := secured.(*tls.Conn)
	if !ok {
		return
	}
	t.vouched.mu.Lock()
	t.vouched.conns[c] = s
	t.vouched.mu.Unlock()
	c.whenClosed(func() {
		t.vouched.mu.Lock()
		defer t.vouched.mu.Unlock()
		delete(t.vouched.conns, c)
	})
}

// keepTrust looks at all open connections whenever our certificate files
// change, until ctx ends. It looks again when handshakes that began before the
// change must be over.
func (t *Transport) keepTrust(ctx context.Context) {
	l := t.cfg.Limits
	for {
		changed := t.cfg.Identity.Changed()
		t.cutUntrusted()
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(l.HandshakeTimeout, l.DialTimeout)):
			t.cutUntrusted()
		case <-changed:
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// cutUntrusted closes the connections whose peer no root stands behind any
// more. A chain's check costs some 0.1 ms.
func (t *Transport) cutUntrusted() {
	t.vouched.mu.Lock()
	conns := maps.Clone(t.vouched.conns)
	t.vouched.mu.Unlock()
	for c, s := range conns {
		if err := t.cfg.Identity.Trusts(s.ConnectionState()); err != nil {
			t.metrics.cut.WithLabelValues(cutUntrusted).Inc()
			t.log.Warn("connection cut", "peer", c.RemoteAddr().String(), "error", err)
			_ = c.Close()
		}
	}
}
