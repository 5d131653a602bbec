package replica

import (
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// maxConns bounds the connections to peers that are pulled from. A starting
	// watcher pulls most from one peer; later it is one now and then.
	maxConns = 64
	// connIdle is how long one is kept without a pull. A handshake costs each
	// side 1 to 2 ms of processor time, an idle connection 60 KiB.
	connIdle = time.Minute
)

// conns are the gRPC connections to peers, by member. It closes those that are
// idle, broken or of members that are gone.
type conns struct {
	dial func(Peer) (*grpc.ClientConn, error)

	mu       sync.Mutex
	byMember map[string]*pooled // guarded by mu
	closed   bool               // guarded by mu
}

// pooled is a connection; guarded by conns.mu.
type pooled struct {
	*grpc.ClientConn
	peer  Peer
	users int
	gone  bool // no longer in byMember: the last user closes it
	idle  *time.Timer
}

func newConns(dial func(Peer) (*grpc.ClientConn, error)) *conns {
	return &conns{dial: dial, byMember: map[string]*pooled{}}
}

// get returns a connection to a peer, which it makes if there is none. Each
// wants its put.
func (c *conns) get(peer Peer) (*pooled, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.byMember[peer.Name]; p != nil {
		if p.peer == peer {
			p.users++
			p.idle.Stop()
			return p, nil
		}
		c.dropLocked(p) // it has moved
	}
	conn, err := c.dial(peer) // does not wait: gRPC connects at the first call
	if err != nil {
		return nil, err
	}
	p := &pooled{ClientConn: conn, peer: peer, users: 1}
	p.idle = time.AfterFunc(connIdle, func() { c.expire(p) })
	p.idle.Stop()
	if c.closed || len(c.byMember) >= maxConns && !c.evictLocked() {
		p.gone = true // for this once
		return p, nil
	}
	c.byMember[peer.Name] = p
	return p, nil
}

// put gives a connection back, with the error of what it was used for.
func (c *conns) put(p *pooled, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.users--
	if !healthy(err) {
		c.dropLocked(p)
	}
	switch {
	case p.users > 0:
	case p.gone:
		_ = p.Close() // a second time does nothing
	default:
		p.idle.Reset(connIdle)
	}
}

// healthy tells whether a pull's error leaves its connection of use: the peer
// has answered, and as peers do.
func healthy(err error) bool {
	switch status.Code(err) {
	case codes.OK, codes.NotFound, codes.ResourceExhausted:
		return true
	}
	return false
}

// expire closes a connection that has been idle for long.
func (c *conns) expire(p *pooled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.users == 0 {
		c.dropLocked(p)
	}
}

// retain closes the connections to all but the given members.
func (c *conns) retain(peers []Peer) {
	alive := make(map[string]bool, len(peers))
	for _, p := range peers {
		alive[p.Name] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, p := range c.byMember {
		if !alive[name] {
			c.dropLocked(p)
		}
	}
}

// close closes all, and those to come after their first use.
func (c *conns) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, p := range c.byMember {
		c.dropLocked(p)
	}
}

// evictLocked makes room by one that nobody uses now.
func (c *conns) evictLocked() bool {
	for _, p := range c.byMember {
		if p.users == 0 {
			c.dropLocked(p)
			return true
		}
	}
	return false
}

func (c *conns) dropLocked(p *pooled) {
	if c.byMember[p.peer.Name] == p {
		delete(c.byMember, p.peer.Name)
	}
	p.gone = true
	p.idle.Stop()
	if p.users == 0 {
		_ = p.Close() // nothing was promised
	}
}
