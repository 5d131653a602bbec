package transport

import (
	"context"
	"net"
	"time"

	"github.com/isthmus-dns/isthmus/gossip"
)

// stream is one push/pull's connection: no deadline lets it outlive its life.
type stream struct {
	net.Conn
	end time.Time
}

func (t *Transport) newStream(c net.Conn) (*stream, error) {
	s := &stream{Conn: c, end: time.Now().Add(t.cfg.Limits.StreamLife)}
	return s, c.SetDeadline(s.end)
}

func (s *stream) clamp(d time.Time) time.Time {
	if d.IsZero() || d.After(s.end) {
		return s.end
	}
	return d
}

func (s *stream) SetDeadline(d time.Time) error      { return s.Conn.SetDeadline(s.clamp(d)) }
func (s *stream) SetReadDeadline(d time.Time) error  { return s.Conn.SetReadDeadline(s.clamp(d)) }
func (s *stream) SetWriteDeadline(d time.Time) error { return s.Conn.SetWriteDeadline(s.clamp(d)) }

// enterStream counts an accepted stream, if there is room for it.
func (t *Transport) enterStream(from string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inStream >= t.cfg.Limits.Streams || t.incoming[from] >= t.cfg.Limits.StreamsPerPeer {
		return false
	}
	t.inStream++
	t.incoming[from]++
	return true
}

func (t *Transport) leaveStream(from string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inStream--
	if t.incoming[from]--; t.incoming[from] == 0 {
		delete(t.incoming, from)
	}
}

// serveStream hands an accepted stream to the pool.
func (t *Transport) serveStream(ctx context.Context, c *conn, secured net.Conn) {
	c.establish(kindStream.String())
	s, err := t.newStream(secured)
	if err != nil {
		_ = c.Close()
		return
	}
	select {
	case t.streams <- s:
	case <-ctx.Done():
		_ = c.Close()
	case <-time.After(t.cfg.Limits.HandshakeTimeout):
		t.refuse(c.RemoteAddr(), refusedLimit, errLimit)
		_ = c.Close()
	}
}

// Dial opens a stream to a peer until ctx ends. Before Run it waits.
func (t *Transport) Dial(ctx context.Context, to gossip.Peer) (net.Conn, error) {
	select {
	case <-t.started:
	case <-ctx.Done():
		return nil, errNotRunning
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	_, secured, err := t.dial(ctx, to, kindStream)
	if err != nil {
		return nil, err
	}
	return t.newStream(secured)
}
