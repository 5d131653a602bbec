package gossip

import (
	"context"
	"sync/atomic"
)

// Bounds on what waits for the Handler. At 1,000 clusters that all publish at
// once, each head comes some four times.
const (
	maxQueuedMessages = 8192
	maxQueuedOctets   = 16 << 20
	maxQueuedDigests  = 16
)

// inbox holds what came from the network until the Handler has time.
type inbox struct {
	messages chan message
	octets   atomic.Int64 // in messages
	digests  chan []byte
	peers    chan struct{} // capacity 1: changes while it is full are one change
	metrics  *metrics
}

func newInbox(m *metrics) *inbox {
	return &inbox{
		messages: make(chan message, maxQueuedMessages),
		digests:  make(chan []byte, maxQueuedDigests),
		peers:    make(chan struct{}, 1),
		metrics:  m,
	}
}

// message is a user message and the member that it came from.
type message struct {
	sender string
	body   []byte
}

// putMessage queues a message or drops it. Never blocks.
func (in *inbox) putMessage(msg message) {
	in.metrics.received.Inc()
	if in.octets.Add(int64(len(msg.body))) <= maxQueuedOctets {
		select {
		case in.messages <- msg:
			return
		default:
		}
	}
	in.octets.Add(-int64(len(msg.body)))
	in.metrics.dropped.WithLabelValues(dropQueueFull).Inc()
}

// putDigest queues a peer's digest or drops it. Never blocks.
func (in *inbox) putDigest(b []byte) {
	select {
	case in.digests <- b:
	default:
		in.metrics.dropped.WithLabelValues(dropQueueFull).Inc()
	}
}

// peersChanged never blocks.
func (in *inbox) peersChanged() {
	select {
	case in.peers <- struct{}{}:
	default:
	}
}

// deliver calls the handler until ctx ends.
func (in *inbox) deliver(ctx context.Context, h Handler) {
	for {
		select {
		case <-ctx.Done():
			return
		case msg := <-in.messages:
			in.octets.Add(-int64(len(msg.body)))
			h.HandleMessage(msg.sender, msg.body)
		case b := <-in.digests:
			h.HandleDigest(b)
		case <-in.peers:
			h.PeersChanged()
		}
	}
}
