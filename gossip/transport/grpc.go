package transport

import (
	"net"
	"sync"
)

// grpcListener yields the port's gRPC connections.
type grpcListener struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// grpcBuffer is how many connections wait for the server's Accept.
const grpcBuffer = 64

func newGRPCListener(addr net.Addr) *grpcListener {
	return &grpcListener{addr: addr, conns: make(chan net.Conn, grpcBuffer), done: make(chan struct{})}
}

// Accept waits for the next connection.
func (l *grpcListener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	case c := <-l.conns:
		return c, nil
	}
}

// Close ends Accept; the port itself stays open for gossip.
func (l *grpcListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *grpcListener) Addr() net.Addr { return l.addr }

// shut closes the listener and what waits in it.
func (l *grpcListener) shut() {
	_ = l.Close() // gives no error
	for {
		select {
		case c := <-l.conns:
			_ = c.Close() // nobody has seen it
		default:
			return
		}
	}
}
