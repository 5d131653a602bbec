package sim

import (
	"encoding/binary"
	"sync/atomic"
)

// Kind is what octets were spent on.
type Kind int

// The kinds.
const (
	Members  Kind = iota // packets: memberlist's probes and news of members
	News                 // packets: the replica's messages
	PushPull             // streams of the pool: member lists and digests
	Pulls                // gRPC: parts that messages could not bring
	kinds
)

// String is the kind as a column.
func (k Kind) String() string { return [...]string{"members", "news", "push/pull", "pulls"}[k] }

// Octets are what one watcher has sent or received.
type Octets struct {
	Payload  [kinds]int64
	Segments int64 // packets of the wire, of at most mss octets
	Streams  int64 // connections that were opened
}

// Total is the payload of all kinds.
func (o Octets) Total() int64 {
	var n int64
	for _, v := range o.Payload {
		n += v
	}
	return n
}

// What the wire adds, for the estimate. A segment: IPv4 20, TCP with timestamps
// 32, a TLS 1.3 record 22, the transport's frame 4. A connection: a mutual TLS
// 1.3 handshake with ECDSA chains of two certificates, each way, and the
// segments that open and close it.
const (
	segmentOverhead = 78
	streamOverhead  = 2200
)

// Estimate is Total with the headers that a simulation does not send.
// Acknowledgements that carry no data are left out.
func (o Octets) Estimate() int64 {
	return o.Total() + o.Segments*segmentOverhead + o.Streams*streamOverhead
}

// Sub is what was added since an earlier reading.
func (o Octets) Sub(before Octets) Octets {
	for k := range o.Payload {
		o.Payload[k] -= before.Payload[k]
	}
	o.Segments -= before.Segments
	o.Streams -= before.Streams
	return o
}

// Add sums two readings.
func (o Octets) Add(other Octets) Octets {
	for k := range o.Payload {
		o.Payload[k] += other.Payload[k]
	}
	o.Segments += other.Segments
	o.Streams += other.Streams
	return o
}

// meters count at one port.
type meters struct {
	sent, received meter
	overrun        atomic.Int64 // packets that found the receiver's buffer full
}

type meter struct {
	payload  [kinds]atomic.Int64
	segments atomic.Int64
	streams  atomic.Int64
}

func (m *meter) read() Octets {
	var o Octets
	for k := range o.Payload {
		o.Payload[k] = m.payload[k].Load()
	}
	o.Segments, o.Streams = m.segments.Load(), m.streams.Load()
	return o
}

// mss is the payload of one segment: a path of 1,500 octets less headers.
const mss = 1400

func segments(n int) int64 { return int64(max(1, (n+mss-1)/mss)) }

func (m *meter) stream(k Kind, n int) {
	m.payload[k].Add(int64(n))
	m.segments.Add(segments(n))
}

// Message types of memberlist's packets; see the gate in package gossip.
const (
	typeCompound = 7
	typeUser     = 8
	typeCRC      = 12
)

// packet counts a packet: user messages as news, all else as membership.
func (m *meter) packet(b []byte) {
	news := int64(userOctets(b))
	m.payload[News].Add(news)
	m.payload[Members].Add(int64(len(b)) - news)
	m.segments.Add(segments(len(b)))
}

// userOctets is how much of a packet are user messages. In a compound of
// nothing else, its header counts with them.
func userOctets(b []byte) int {
	if len(b) > 5 && b[0] == typeCRC {
		b = b[5:]
	}
	switch {
	case len(b) == 0:
		return 0
	case b[0] == typeUser:
		return len(b)
	case b[0] != typeCompound || len(b) < 2:
		return 0
	}
	n := int(b[1])
	lengths := b[2:]
	if len(lengths) < 2*n {
		return 0
	}
	rest, user := lengths[2*n:], 0
	for i := range n {
		size := min(int(binary.BigEndian.Uint16(lengths[2*i:])), len(rest))
		if size > 0 && rest[0] == typeUser {
			user += size + 2
		}
		rest = rest[size:]
	}
	return user
}
