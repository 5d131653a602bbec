package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/isthmus-dns/isthmus/gossip"
)

const (
	// readBuffer takes some dozen of the usual packets at once; a larger one
	// is read past it. A watcher has one for each of a thousand peers.
	readBuffer = 4 << 10

	// batch is how many octets of waiting packets leave in one write: a TLS
	// record. Nothing ever waits for a batch to fill.
	batch = 16 << 10
)

var (
	errIdle    = errors.New("idle")
	errDropped = errors.New("packet dropped")
)

// packetConn is an established packet connection, dialed or accepted.
type packetConn struct {
	net.Conn // TLS, or plain
	base     *conn
	peer     string
	since    time.Time
	used     atomic.Int64 // when the last packet passed, either way: nanoseconds after since
}

func newPacketConn(base *conn, secured net.Conn, peer string) *packetConn {
	return &packetConn{Conn: secured, base: base, peer: peer, since: time.Now()}
}

func (c *packetConn) touch() { c.used.Store(int64(time.Since(c.since))) }

// idle goes by the monotonic clock: a wall clock that is set, as after a boot,
// would end all connections at once, or let them stay for ever.
func (c *packetConn) idle() time.Duration { return time.Since(c.since) - time.Duration(c.used.Load()) }

// servePackets adds an accepted connection to its peer's link and reads it to
// its end.
func (t *Transport) servePackets(ctx context.Context, base *conn, secured net.Conn, from string) {
	base.establish(kindPackets.String())
	defer func() { _ = base.Close() }()
	if err := secured.SetDeadline(time.Time{}); err != nil {
		return
	}
	c := newPacketConn(base, secured, from)
	var l *link
	var oldest *packetConn
	if err := t.withLink(from, func(found *link) { l, oldest = found, found.add(c) }); err != nil {
		t.refuse(base.RemoteAddr(), refusedLimit, err)
		return
	}
	if oldest != nil {
		t.metrics.cut.WithLabelValues(cutOldest).Inc()
		_ = oldest.base.Close() // its reader ends
	}
	l.read(ctx, c)
}

// read delivers a connection's packets until it ends.
func (l *link) read(ctx context.Context, c *packetConn) {
	err := l.t.readFrames(ctx, c)
	l.remove(c)
	switch {
	case errors.Is(err, errFrame):
		l.t.refuse(c.RemoteAddr(), refusedFrame, fmt.Errorf("%s: %w", c.peer, err))
	case errors.Is(err, os.ErrDeadlineExceeded):
		l.t.refuse(c.RemoteAddr(), refusedTimeout, fmt.Errorf("%s: half a frame: %w", c.peer, err))
	case errors.Is(err, errFlood):
		l.t.refuse(c.RemoteAddr(), refusedFlood, fmt.Errorf("%s: %w", c.peer, err))
		l.t.cutCluster(gossip.ClusterOf(c.peer))
	default:
		l.t.log.Debug("packet connection ended", "peer", c.peer, "cause", err)
	}
}

func (t *Transport) readFrames(ctx context.Context, c *packetConn) error {
	r := bufio.NewReaderSize(c, readBuffer)
	m := t.meters.of(gossip.ClusterOf(c.peer))
	for {
		kind, size, err := t.readHeader(r, c)
		if err != nil {
			return err
		}
		if r.Buffered() < size {
			if err := c.SetReadDeadline(time.Now().Add(t.cfg.Limits.WriteTimeout)); err != nil {
				return err
			}
		}
		verdict := m.frame(size)
		if verdict == cut {
			return errFlood
		}
		if kind != framePacket || verdict == drop {
			if _, err := r.Discard(size); err != nil {
				return err
			}
			if verdict == drop {
				t.metrics.dropped.WithLabelValues(droppedRate).Inc()
			}
			continue
		}
		buf := make([]byte, size)
		if _, err := io.ReadFull(r, buf); err != nil {
			return err
		}
		c.touch()
		t.metrics.received.Inc()
		select {
		case t.packets <- gossip.Packet{Buf: buf, From: c.RemoteAddr(), Sender: c.peer, At: time.Now()}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readHeader waits for the next frame as long as the connection is in use: a
// peer that only listens sends none.
func (t *Transport) readHeader(r *bufio.Reader, c *packetConn) (kind byte, size int, err error) {
	for {
		if r.Buffered() < frameHeader {
			if err := c.SetReadDeadline(time.Now().Add(t.cfg.Limits.IdleTimeout)); err != nil {
				return 0, 0, err
			}
		}
		head, err := r.Peek(frameHeader)
		if err == nil {
			kind, size, err = parseFrame(head)
			if err != nil {
				return 0, 0, err
			}
			_, err = r.Discard(frameHeader)
			return kind, size, err
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, 0, err
		}
		if len(head) > 0 || c.idle() >= t.cfg.Limits.IdleTimeout {
			return 0, 0, errIdle
		}
	}
}

// WritePacket queues a packet for a peer, which must have a name. It never
// blocks; what can't leave is dropped, counted, and an error.
func (t *Transport) WritePacket(b []byte, to gossip.Peer) (time.Time, error) {
	now := time.Now()
	if len(b) == 0 || len(b) > gossip.MaxPacket {
		return now, fmt.Errorf("packet of %d octets, want 1 to %d", len(b), gossip.MaxPacket)
	}
	if _, _, err := gossip.SplitName(to.Name); err != nil {
		return now, err
	}
	queued := false
	if err := t.withLink(to.Name, func(l *link) { queued = l.put(b, to.Addr) }); err != nil {
		return now, err
	}
	if !queued {
		return now, errDropped
	}
	return now, nil
}
