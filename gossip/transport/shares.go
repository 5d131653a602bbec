package transport

import (
	"crypto/tls"
	"net"
	"sync"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// Shares bound what one cluster may hold open here at once, under however many
// member names. Zero fields take DefaultShares' values.
type Shares struct {
	Packets int // accepted packet connections
	Streams int // accepted streams
	GRPC    int // gRPC connections of another cluster
	OwnGRPC int // gRPC connections of our own cluster, agents included
}

// DefaultShares leave room for all clusters of a full clusterset.
func DefaultShares() Shares {
	return Shares{
		Packets: 32,   // three watchers, and three that replace them, have at most PacketConnsPerPeer each
		Streams: 16,   // an eighth of all; a watcher has one or two
		GRPC:    64,   // watchers of other clusters pull, a connection a pull, a few at once
		OwnGRPC: 5000, // a share of 5,000 nodes' agents; the rest of Limits.Conns is for other clusters
	}
}

func (s *Shares) setDefaults() {
	d := DefaultShares()
	orInt(&s.Packets, d.Packets)
	orInt(&s.Streams, d.Streams)
	orInt(&s.GRPC, d.GRPC)
	orInt(&s.OwnGRPC, d.OwnGRPC)
}

// kindGRPC is a gRPC connection, next to the kinds of a hello.
const kindGRPC = "grpc"

// holding is what is counted: connections of one kind and one cluster.
type holding struct{ kind, cluster string }

// holdings count what clusters hold open. Empty counts are not kept, so there
// are no more of them than connections.
type holdings struct {
	mu sync.Mutex
	n  map[holding]int
}

func (h *holdings) enter(k holding, limit int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n[k] >= limit {
		return false
	}
	h.n[k]++
	return true
}

func (h *holdings) leave(k holding) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n[k]--; h.n[k] == 0 {
		delete(h.n, k)
	}
}

// hold counts an accepted connection in its cluster's share until it is closed.
func (t *Transport) hold(c *conn, kind, cluster string, limit int) error {
	k := holding{kind: kind, cluster: cluster}
	if !t.holdings.enter(k, limit) {
		return refused(refusedShare, "cluster %s has %d %s connections open, and no more are allowed", cluster, limit, kind)
	}
	c.whenClosed(func() { t.holdings.leave(k) })
	return nil
}

// holdGRPC counts a gRPC connection. In plain text nobody knows whose it is,
// so it counts as our own cluster's.
func (t *Transport) holdGRPC(c *conn, secured net.Conn) error {
	shares := t.cfg.Limits.Shares
	s, ok := secured.(*tls.Conn)
	if !ok {
		return t.hold(c, kindGRPC, t.id.Cluster, shares.OwnGRPC)
	}
	id, err := trust.PeerID(s.ConnectionState())
	switch {
	case err != nil:
		return err
	case id.Cluster == t.id.Cluster:
		return t.hold(c, kindGRPC, id.Cluster, shares.OwnGRPC)
	}
	return t.hold(c, kindGRPC, id.Cluster, shares.GRPC)
}

// admit lets a member in whose hello was found right, as far as its cluster
// has room and time for it.
func (t *Transport) admit(c *conn, h hello) error {
	cluster := gossip.ClusterOf(h.from)
	m := t.meters.of(cluster)
	if m.cutOff() {
		return refused(refusedFlood, "cluster %s sent far too much: it is cut off for %s", cluster, t.cfg.Limits.Rates.BackOff)
	}
	if h.kind == kindAsk {
		return nil // the answer is all it gets
	}
	if h.kind == kindPackets {
		return t.hold(c, h.kind.String(), cluster, t.cfg.Limits.Shares.Packets)
	}
	if !m.streams.Allow() {
		return refused(refusedRate, "cluster %s opens streams too fast", cluster)
	}
	if !t.enterStream(h.from) {
		return refused(refusedLimit, "too many streams")
	}
	c.whenClosed(func() { t.leaveStream(h.from) })
	return t.hold(c, h.kind.String(), cluster, t.cfg.Limits.Shares.Streams)
}
