package replica

import (
	"sync"
	"time"

	"google.golang.org/grpc"
)

// linkIdle is how long a connection to a peer is kept after a pull. Pulls come
// in flocks, when a watcher starts or comes back from a split: connecting takes
// as long as three pulls over an ocean.
const linkIdle = 5 * time.Second

// links are the connections to peers that are pulled from: as many as pulls run
// at once, and those that have ended a moment ago.
type links struct {
	dial func(Peer) (*grpc.ClientConn, error)

	mu     sync.Mutex
	open   map[Peer]*link // guarded by mu
	closed bool           // guarded by mu
}

// link is one connection; its fields are guarded by links.mu.
type link struct {
	conn  *grpc.ClientConn
	users int
	idle  *time.Timer // runs while there are none; nil before
}

func newLinks(dial func(Peer) (*grpc.ClientConn, error)) *links {
	return &links{dial: dial, open: map[Peer]*link{}}
}

// use gives a connection to a peer. The caller releases it, and tells whether
// it is fit for others: after an error a new one is made, to wherever the
// peer's address leads by then.
func (l *links) use(to Peer) (conn *grpc.ClientConn, release func(fit bool), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.open[to]
	if k == nil {
		if conn, err = l.dial(to); err != nil { // which connects only at the first call
			return nil, nil, err
		}
		k = &link{conn: conn}
		l.open[to] = k
	}
	k.users++
	if k.idle != nil {
		k.idle.Stop()
	}
	return k.conn, func(fit bool) { l.release(to, k, fit) }, nil
}

func (l *links) release(to Peer, k *link, fit bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.users--
	if (!fit || l.closed) && l.open[to] == k {
		delete(l.open, to)
	}
	switch {
	case k.users > 0:
	case l.open[to] != k:
		_ = k.conn.Close() // nothing runs on it
	default:
		k.idle = time.AfterFunc(linkIdle, func() { l.expire(to, k) })
	}
}

// expire closes a connection that nobody has used for a while.
func (l *links) expire(to Peer, k *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.users == 0 && l.open[to] == k {
		delete(l.open, to)
		_ = k.conn.Close()
	}
}

// close closes what is idle; what is in use is closed when it is released.
func (l *links) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for to, k := range l.open {
		if k.users == 0 {
			k.idle.Stop()
			delete(l.open, to)
			_ = k.conn.Close()
		}
	}
}
