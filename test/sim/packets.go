package sim

import (
	"time"

	"github.com/isthmus-dns/isthmus/gossip"
)

type packetQueue chan gossip.Packet

// packetBuffer is a second of the busiest watcher in the largest scenario.
// Beyond it packets are lost, and counted.
const packetBuffer = 1024

var _ gossip.Transport = (*Port)(nil)

// WritePacket sends a packet. Like UDP it does not tell whether that arrives.
func (p *Port) WritePacket(b []byte, to gossip.Peer) (time.Time, error) {
	now := time.Now()
	dest, err := p.net.find(to.Addr)
	if err != nil {
		return now, nil // as with a host that is gone
	}
	p.meters.sent.packet(b)
	delay, ok := p.net.flight(p, dest)
	if !ok {
		return now, nil
	}
	time.AfterFunc(delay, func() { dest.deliver(gossip.Packet{Buf: b, From: p.addr, Sender: p.name, At: time.Now()}) })
	return now, nil
}

func (p *Port) deliver(pkt gossip.Packet) {
	p.meters.received.packet(pkt.Buf)
	select {
	case p.packets <- pkt:
	default:
		p.meters.overrun.Add(1)
	}
}

// Packets implements gossip.Transport.
func (p *Port) Packets() <-chan gossip.Packet { return p.packets }
