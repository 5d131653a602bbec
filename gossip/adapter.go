package gossip

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// adapter is the Transport as memberlist sees it, with the gate in front. It
// outlives memberlist's Shutdown, which does not wait for memberlist's own
// goroutines: from then on it refuses everything.
type adapter struct {
	ctx       context.Context // ends after the farewell
	dialing   context.Context // ends before it
	transport Transport
	advertise netip.AddrPort
	roster    *roster
	inbox     *inbox
	metrics   *metrics

	packets chan *memberlist.Packet
	streams chan net.Conn

	mu     sync.Mutex
	open   map[*gatedConn]struct{}
	selves map[string]time.Time // dialed addresses that led back to us
	closed bool
}

var _ memberlist.NodeAwareTransport = (*adapter)(nil)

// packetBuffer is how many packets may wait for memberlist's reader, which
// only sorts them.
const packetBuffer = 64

func newAdapter(ctx, dialing context.Context, p *Pool, advertise netip.AddrPort) *adapter {
	return &adapter{
		ctx: ctx, dialing: dialing, transport: p.cfg.Transport, advertise: advertise,
		roster: p.roster, inbox: p.inbox, metrics: p.metrics,
		packets: make(chan *memberlist.Packet, packetBuffer),
		streams: make(chan net.Conn),
		open:    map[*gatedConn]struct{}{},
		selves:  map[string]time.Time{},
	}
}

// FinalAdvertiseAddr gives the address that was resolved when Run started: a
// member whose address changes is refused by the others while it is alive.
func (a *adapter) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return a.advertise.Addr().AsSlice(), int(a.advertise.Port()), nil
}

// WriteToAddress sends a packet to a member, at the address that the member
// list has: who asks for an answer does not choose where it goes. Errors are
// counted and not returned, because memberlist, when it can't send a probe,
// does not suspect the member.
func (a *adapter) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	addr, ok := a.roster.addr(to.Name)
	switch {
	case a.ctx.Err() != nil:
	case !ok:
		a.metrics.dropped.WithLabelValues(dropUnknownPeer).Inc()
	default:
		at, err := a.transport.WritePacket(b, Peer{Name: to.Name, Addr: addr.String()})
		if err == nil {
			return at, nil
		}
		a.metrics.dropped.WithLabelValues(dropTransport).Inc()
	}
	return time.Now(), nil
}

// WriteTo is for transports that know no names; memberlist does not call it.
func (a *adapter) WriteTo([]byte, string) (time.Time, error) {
	a.metrics.dropped.WithLabelValues(dropUnknownPeer).Inc()
	return time.Now(), nil
}

// DialAddressTimeout opens a stream for a push/pull.
func (a *adapter) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(a.dialing, timeout)
	defer cancel()
	conn, err := a.transport.Dial(ctx, Peer{Name: to.Name, Addr: to.Addr})
	if err != nil {
		if errors.Is(err, ErrSelf) {
			a.mu.Lock()
			a.selves[to.Addr] = time.Now()
			a.mu.Unlock()
		}
		return nil, err
	}
	return a.track(conn, true)
}

// DialTimeout is DialAddressTimeout without a name.
func (a *adapter) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return a.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// PacketCh is what memberlist reads: single messages, none of them a user's.
func (a *adapter) PacketCh() <-chan *memberlist.Packet { return a.packets }

// StreamCh is what memberlist reads: gated streams.
func (a *adapter) StreamCh() <-chan net.Conn { return a.streams }

// Shutdown closes all streams. The Transport itself belongs to others.
func (a *adapter) Shutdown() error {
	a.closeStreams()
	return nil
}

// closeStreams closes all streams and those to come, so that a push/pull that
// hangs does not hold up the farewell.
func (a *adapter) closeStreams() {
	a.mu.Lock()
	a.closed = true
	open := a.open
	a.open = map[*gatedConn]struct{}{}
	a.mu.Unlock()
	for c := range open {
		_ = c.Conn.Close() // nothing was promised to the peer
	}
}

// track puts the gate before a stream and remembers it for Shutdown.
func (a *adapter) track(conn net.Conn, answer bool) (net.Conn, error) {
	var g *gatedConn
	g = newGatedConn(conn, answer,
		func(reason string) { a.metrics.refused.WithLabelValues(reason).Inc() },
		func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			delete(a.open, g)
		})
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	a.open[g] = struct{}{}
	return g, nil
}

// ledToSelf tells whether a dial to addr came back to us within that time.
func (a *adapter) ledToSelf(addr string, within time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.selves[addr]
	if ok && time.Since(at) > within {
		delete(a.selves, addr)
		return false
	}
	return ok
}

// pumpPackets lets packets through the gate until the pool ends. User messages
// go to the inbox in the order in which they came; memberlist gets the rest.
func (a *adapter) pumpPackets() {
	var parts [][]byte
	budgets := budgets{own: ClusterOf(a.roster.self)}
	for {
		var pkt Packet
		select {
		case <-a.ctx.Done():
			return
		case pkt = <-a.transport.Packets():
		}
		var err error
		if parts, err = splitPacket(pkt.Buf, parts[:0]); err != nil {
			a.metrics.refused.WithLabelValues(err.Error()).Inc()
			continue
		}
		cluster := ClusterOf(pkt.Sender)
		if pkt.Sender != "" && a.roster.heard(pkt.Sender) {
			a.inbox.peersChanged()
		}
		for _, part := range parts {
			if kind := allowanceOf(part[0]); pkt.Sender != "" && !budgets.spend(cluster, kind) {
				a.metrics.dropped.WithLabelValues(kind.reason).Inc()
				continue
			}
			if part[0] == typeUser {
				a.inbox.putMessage(message{sender: pkt.Sender, body: own(part[1:], len(pkt.Buf))})
				continue
			}
			select {
			case <-a.ctx.Done():
				return
			case a.packets <- &memberlist.Packet{Buf: part, From: pkt.From, Timestamp: pkt.At}:
			}
		}
		clear(parts)
	}
}

// own copies a message out of its packet unless it is most of it, so that a
// small message that is kept does not keep a large packet.
func own(msg []byte, packet int) []byte {
	if 2*len(msg) < packet {
		return bytes.Clone(msg)
	}
	return msg
}

// pumpStreams hands incoming streams to memberlist until the pool ends.
func (a *adapter) pumpStreams() {
	for {
		var conn net.Conn
		select {
		case <-a.ctx.Done():
			return
		case conn = <-a.transport.Streams():
		}
		g, err := a.track(conn, false)
		if err != nil {
			continue // track has closed it
		}
		select {
		case <-a.ctx.Done():
			_ = g.Close()
			return
		case a.streams <- g:
		}
	}
}
