package transport

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-dns/isthmus/gossip"
)

const (
	// warmFor is how long after the last packet for a peer a connection that
	// broke is opened again before the next one: six heartbeats.
	warmFor = time.Minute

	// maxLinks bounds the links of one cluster's members. A certificate vouches
	// for any number of names, and a link outlives its connections by
	// Limits.IdleTimeout: who takes a new name each time would else leave no
	// link to others. Sixty-four are three watchers, each replaced every
	// quarter of a minute.
	maxLinks = 64

	// Waits between dials that fail; each doubles.
	firstWait = 250 * time.Millisecond
	lastWait  = 15 * time.Second

	// steady is how long a dialed connection must have lasted, or else the
	// dial counts as one that failed: the peer may let us in and hang up.
	steady = time.Second
)

// link is the packet connections of one peer and what waits for them. Packets
// leave on the newest connection, whoever dialed it: after a restart or a
// break it is the one that works. So two members that dial each other at once
// keep both connections, and a member that can't be dialed can be answered.
type link struct {
	t     *Transport
	name  string
	queue chan []byte
	wake  chan struct{} // capacity 1: conns changed, or something is to be dialed for

	mu      sync.Mutex
	addr    string // as last given; "" while only the peer has dialed
	conns   []*packetConn
	octets  int       // in queue
	down    bool      // the last dial failed, and the wait after it goes on
	wanted  time.Time // when a packet was last put
	lastErr string
}

// batches are buffers for packets that leave together.
var batches = sync.Pool{New: func() any { return new([]byte) }}

// withLink finds or makes a peer's link and calls f while it can't retire.
func (t *Transport) withLink(name string, f func(*link)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return errNotRunning
	}
	l := t.links[name]
	if l == nil {
		cluster := gossip.ClusterOf(name)
		if len(t.links) >= gossip.MaxMembers || t.linksOf[cluster] >= maxLinks {
			return errLimit
		}
		l = &link{
			t: t, name: name,
			queue: make(chan []byte, t.cfg.Limits.QueuePackets),
			wake:  make(chan struct{}, 1),
		}
		ctx := t.ctx
		if !t.spawnLocked(func() { l.run(ctx) }) {
			return errNotRunning
		}
		t.links[name] = l
		t.linksOf[cluster]++
	}
	f(l)
	return nil
}

func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// put queues a packet or drops it.
func (l *link) put(b []byte, addr string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addr, l.wanted = addr, time.Now()
	if l.down && len(l.conns) == 0 {
		l.t.metrics.dropped.WithLabelValues(droppedUnreachable).Inc()
		return false
	}
	if l.octets+len(b) > l.t.cfg.Limits.QueueOctets {
		l.t.metrics.dropped.WithLabelValues(droppedQueue).Inc()
		return false
	}
	select {
	case l.queue <- b:
	default:
		l.t.metrics.dropped.WithLabelValues(droppedQueue).Inc()
		return false
	}
	l.octets += len(b)
	if len(l.conns) == 0 {
		l.signal()
	}
	return true
}

// add makes a connection the one to write to. It returns the one that there
// is no more room for, or nil.
func (l *link) add(c *packetConn) (oldest *packetConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, c)
	if len(l.conns) > l.t.cfg.Limits.PacketConnsPerPeer {
		oldest = l.conns[0]
		l.conns = slices.Delete(l.conns, 0, 1)
	}
	l.lastErr = ""
	l.signal()
	return oldest
}

// remove closes a connection and forgets it.
func (l *link) remove(c *packetConn) {
	l.mu.Lock()
	l.conns = slices.DeleteFunc(l.conns, func(o *packetConn) bool { return o == c })
	l.mu.Unlock()
	_ = c.base.Close()
	l.signal()
}

func (l *link) newest() *packetConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) == 0 {
		return nil
	}
	return l.conns[len(l.conns)-1]
}

// target is where to dial, if there is a reason to.
func (l *link) target() (addr string, dial bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addr, l.addr != "" && (len(l.queue) > 0 || time.Since(l.wanted) < warmFor)
}

// run is the only writer of the peer's connections, and dials when there is
// none. It ends with ctx, or when the peer has been silent for long.
func (l *link) run(ctx context.Context) {
	wait, dialed := firstWait, time.Time{}
	for ctx.Err() == nil {
		if c := l.newest(); c != nil {
			select {
			case <-ctx.Done():
			case <-l.wake:
			case b := <-l.queue:
				l.write(c, b)
			}
			continue
		}
		addr, dial := l.target()
		if !dial {
			if l.rest(ctx) {
				return
			}
			continue
		}
		if time.Since(dialed) < steady {
			l.pause(ctx, wait*3/4+rand.N(wait/2))
			wait, dialed = min(2*wait, lastWait), time.Time{}
			continue
		}
		if !dialed.IsZero() {
			wait = firstWait
		}
		dialed = time.Now()
		if err := l.dial(ctx, addr); err != nil {
			l.failed(err)
			l.pause(ctx, wait*3/4+rand.N(wait/2))
			wait, dialed = min(2*wait, lastWait), time.Time{}
		}
	}
}

// rest waits until something happens and tells whether nothing did for so long
// that the link was given up.
func (l *link) rest(ctx context.Context) (retired bool) {
	timer := time.NewTimer(l.t.cfg.Limits.IdleTimeout)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return true
	case <-l.wake:
		return false
	case <-timer.C:
	}
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) > 0 || len(l.queue) > 0 {
		return false
	}
	delete(l.t.links, l.name)
	cluster := gossip.ClusterOf(l.name)
	if l.t.linksOf[cluster]--; l.t.linksOf[cluster] == 0 {
		delete(l.t.linksOf, cluster)
	}
	return true
}

// dial opens a connection and starts its reader.
func (l *link) dial(ctx context.Context, addr string) error {
	dialing, cancel := context.WithTimeout(ctx, l.t.cfg.Limits.DialTimeout)
	defer cancel()
	if l.t.meters.of(gossip.ClusterOf(l.name)).cutOff() {
		return errFlood
	}
	base, secured, err := l.t.dial(dialing, gossip.Peer{Name: l.name, Addr: addr}, kindPackets)
	if err != nil {
		return err
	}
	c := newPacketConn(base, secured, l.name)
	// Before its reader, which removes it when it ends. The peer may have
	// dialed us meanwhile, and have as many connections as there is room for.
	if oldest := l.add(c); oldest != nil {
		_ = oldest.base.Close() // its reader ends
	}
	if !l.t.spawn(func() { l.read(ctx, c) }) {
		l.remove(c)
		return errNotRunning
	}
	return nil
}

// failed drops what waits: by the time of the next dial it is old. It logs a
// failure when it begins or changes.
func (l *link) failed(err error) {
	l.mu.Lock()
	l.down = true
	news := l.lastErr != err.Error()
	l.lastErr = err.Error()
	for drained := false; !drained; {
		select {
		case <-l.queue:
			l.t.metrics.dropped.WithLabelValues(droppedUnreachable).Inc()
		default:
			l.octets, drained = 0, true
		}
	}
	l.mu.Unlock()
	if news {
		l.t.log.Info("peer not reached", "peer", l.name, "error", err)
	}
}

// pause waits after a dial that failed, unless the peer dials us.
func (l *link) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-timer.C:
			done = true
		case <-l.wake:
			done = l.newest() != nil
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

// write sends a packet and what waits behind it, without waiting for more.
func (l *link) write(c *packetConn, b []byte) {
	// Not kept by the link: most have nothing to send most of the time.
	kept := batches.Get().(*[]byte)
	packets, buf := 1, appendFrame((*kept)[:0], b)
	octets := len(b)
	for len(buf) < batch {
		select {
		case b := <-l.queue:
			packets, buf, octets = packets+1, appendFrame(buf, b), octets+len(b)
			continue
		default:
		}
		break
	}
	if cap(buf) <= 2*batch {
		defer func() { *kept = buf; batches.Put(kept) }()
	}
	l.mu.Lock()
	l.octets -= octets
	l.mu.Unlock()
	err := c.SetWriteDeadline(time.Now().Add(l.t.cfg.Limits.WriteTimeout))
	if err == nil {
		_, err = c.Write(buf)
	}
	if err != nil {
		l.t.metrics.dropped.WithLabelValues(droppedLost).Add(float64(packets))
		l.t.log.Debug("packets lost", "peer", l.name, "packets", packets, "error", err)
		l.remove(c)
		return
	}
	c.touch()
	l.t.metrics.sent.Add(float64(packets))
}
