package gossip

import (
	"context"
	"errors"
	"net"
	"time"
)

// MaxPacket is the largest packet in octets that a Transport must carry and
// may deliver.
const MaxPacket = 64 << 10

// ErrSelf is wrapped by a Transport's dial error when an address leads back to
// the dialer. That is no fault: watchers of a cluster often share one seed
// list that names all of them, or one address.
var ErrSelf = errors.New("address leads back to this member")

// Peer is who a packet or a connection is for.
type Peer struct {
	Name string // member name; "" while only a seed's address is known
	Addr string // IP:port, as the member advertises it
}

// Packet is one packet as it arrived. Buf is the receiver's.
type Packet struct {
	Buf    []byte
	From   net.Addr
	Sender string    // the member's name, as the Transport has authenticated it; "": not known, and not limited
	At     time.Time // when it arrived: round-trip times are measured by it
}

// Transport is what the pool needs of a network. All methods may be called
// concurrently. The pool does not own it: it is started before the pool and
// stopped after it.
type Transport interface {
	// WritePacket sends a packet of at most MaxPacket octets, best effort. It
	// must not block: what can't leave is dropped. The caller does not touch b
	// afterwards. It returns when the packet left, as well as that is known.
	WritePacket(b []byte, to Peer) (time.Time, error)

	// Dial opens a stream to a peer until ctx ends. When the peer's name is
	// known, nobody else may answer.
	Dial(ctx context.Context, to Peer) (net.Conn, error)

	// Packets and Streams deliver what peers send. They are never closed.
	Packets() <-chan Packet
	Streams() <-chan net.Conn
}
