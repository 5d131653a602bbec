package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-dns/isthmus/gossip"
)

const (
	// idleOctets is what each direction of a splice holds while it waits: a
	// head with its delta fits. bulkOctets is for one that is busy.
	idleOctets = 2 << 10
	bulkOctets = 32 << 10
)

// Results of isthmus_transport_splices_total.
const (
	spliceOK      = "ok"
	spliceAgain   = "again"       // a sibling has handed it on already
	spliceUnknown = "unknown"     // no sibling of that name is known
	spliceLimit   = "limit"       // too many, in all or from one address
	spliceFailed  = "unreachable" // the sibling does not answer
)

var (
	errSpliced   = errors.New("connection is for a sibling") // ends our part in its handshake
	errNoSibling = errors.New("no sibling of that name is known")
	errHandedOn  = errors.New("a sibling has handed the connection on")
	errSplices   = errors.New("too many connections are handed on")
)

// addressee is the member that an SNI names, "" if it names none:
// <watcher>.<cluster>.<clusterset>. The SNI comes from anybody.
func (t *Transport) addressee(serverName string) string {
	name, ok := strings.CutSuffix(serverName, "."+t.id.Clusterset)
	if !ok {
		return ""
	}
	if _, _, err := gossip.SplitName(name); err != nil {
		return ""
	}
	return name
}

// detour opens the way to the sibling that an accepted connection is for. Both
// results are nil when it is not for a sibling. An error says why a connection
// for one stays with us; then our answer to the hello tells the dialer, and
// gRPC, which any watcher of a cluster can serve, is served.
//
// It happens before anybody is authenticated: the sibling does that. Until it
// has, splices are as cheap to open as connections are, hence the bounds.
func (t *Transport) detour(ctx context.Context, o *opening, to string) (*conn, error) {
	_, cluster, err := gossip.SplitName(to)
	if err != nil || cluster != t.id.Cluster || to == t.cfg.Name {
		return nil, nil
	}
	// Half of the time stays for a handshake of our own.
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Limits.HandshakeTimeout/2)
	defer cancel()
	up, result, err := t.openSplice(ctx, o, to)
	t.metrics.splices.WithLabelValues(result).Inc()
	return up, err
}

func (t *Transport) openSplice(ctx context.Context, o *opening, to string) (up *conn, result string, err error) {
	if o.handed {
		return nil, spliceAgain, errHandedOn
	}
	addr, ok := t.siblings.find(ctx, to)
	if !ok {
		return nil, spliceUnknown, errNoSibling
	}
	from := sourceOf(o.RemoteAddr())
	if !t.enterSplice(from) {
		return nil, spliceLimit, errSplices
	}
	up, err = t.connect(ctx, addr.String())
	if err == nil {
		end, _ := ctx.Deadline() // detour has set one
		if err = errors.Join(up.SetDeadline(end), o.handOn(up)); err != nil {
			_ = up.Close()
		}
	}
	if err != nil {
		t.leaveSplice(from)
		t.siblings.forget(addr, err)
		return nil, spliceFailed, fmt.Errorf("sibling at %s: %w", addr, err)
	}
	up.whenClosed(func() { t.leaveSplice(from) })
	tie(o.conn, up)
	return up, spliceOK, nil
}

// tie lets neither of two connections outlive the other.
func tie(a, b *conn) {
	a.whenClosed(func() { _ = b.Close() })
	b.whenClosed(func() { _ = a.Close() })
}

// enterSplice counts a splice, if there is room for it.
func (t *Transport) enterSplice(from source) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inSplice >= t.cfg.Limits.Splices || t.splicesBy[from] >= t.cfg.Limits.SplicesPerSource {
		return false
	}
	t.inSplice++
	t.splicesBy[from]++
	return true
}

func (t *Transport) leaveSplice(from source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inSplice--
	if t.splicesBy[from]--; t.splicesBy[from] == 0 {
		delete(t.splicesBy, from)
	}
}

// serveSplice copies both ways until both have ended, one has broken, or
// nothing has come from either for Limits.IdleTimeout.
func (t *Transport) serveSplice(c, up *conn) {
	c.establish("splice")
	defer func() { _ = c.Close() }() // and with it up
	s := &splice{t: t, idle: t.cfg.Limits.IdleTimeout, used: time.Now()}
	if c.SetDeadline(time.Time{}) != nil || up.SetDeadline(time.Time{}) != nil {
		return
	}
	var back sync.WaitGroup
	back.Add(1)
	if !t.spawn(func() {
		defer back.Done()
		s.copy(c, up, "from_sibling")
	}) {
		return
	}
	s.copy(up, c, "to_sibling")
	back.Wait()
}

// splice is two connections that are one.
type splice struct {
	t *Transport

	mu    sync.Mutex
	idle  time.Duration // how long neither side may be heard
	used  time.Time     // when one was
	heard bool          // the sibling has said something
}

var bulk = sync.Pool{New: func() any { return new([bulkOctets]byte) }}

// copy copies one direction to its end, which it passes on. When it breaks, it
// breaks the other one too.
func (s *splice) copy(to, from *conn, direction string) {
	octets := s.t.metrics.spliced.WithLabelValues(direction)
	small := make([]byte, idleOctets)
	var busy *[bulkOctets]byte
	defer func() {
		if busy != nil {
			bulk.Put(busy)
		}
	}()
	for {
		buf := small
		if busy != nil {
			buf = busy[:]
		}
		n, err := s.read(from, buf, !from.accepted)
		if err == nil {
			err = to.SetWriteDeadline(time.Now().Add(s.t.cfg.Limits.WriteTimeout))
		}
		if err == nil {
			_, err = to.Write(buf[:n])
		}
		switch {
		case errors.Is(err, io.EOF):
			s.end(to)
			return
		case err != nil:
			_ = to.Close() // and with it from
			return
		case n == len(buf) && busy == nil:
			busy = bulk.Get().(*[bulkOctets]byte)
		case n < len(buf) && busy != nil: // drained
			bulk.Put(busy)
			busy = nil
		}
		octets.Add(float64(n))
	}
}

// read waits for octets as long as the splice is in use: a side that only
// listens sends none. But a sibling that accepts and never says a word hangs.
func (s *splice) read(from *conn, buf []byte, sibling bool) (int, error) {
	for {
		if err := s.await(from, sibling); err != nil {
			return 0, err
		}
		n, err := from.Read(buf)
		s.mu.Lock()
		if n > 0 {
			s.used, s.heard = time.Now(), s.heard || sibling
			s.mu.Unlock()
			return n, nil // an error comes again
		}
		over := sibling && !s.heard || time.Since(s.used) >= s.idle
		s.mu.Unlock()
		if over || !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
	}
}

// await sets the deadline for the next octets of one side.
func (s *splice) await(from *conn, sibling bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := s.idle
	if sibling && !s.heard {
		limit = min(limit, s.t.cfg.Limits.HandshakeTimeout)
	}
	return from.SetReadDeadline(time.Now().Add(limit))
}

// end passes the end of one direction on. The other one may say what it has to
// say; who has nothing to say must not hold a splice that nobody listens to.
func (s *splice) end(to *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle, s.used = min(s.idle, s.t.cfg.Limits.HandshakeTimeout), time.Now()
	if to.closeWrite() != nil || to.SetReadDeadline(s.used.Add(s.idle)) != nil {
		_ = to.Close() // and with it the other one
	}
}
