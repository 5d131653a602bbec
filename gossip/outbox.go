package gossip

import "github.com/hashicorp/memberlist"

const (
	// maxQueuedBroadcasts is one key for each of 1,000 clusters, four times.
	// Beyond it the messages that were sent most often go first.
	maxQueuedBroadcasts = 4096

	// minShare is the least that a broadcast counts in a packet, so that
	// small ones can't overflow memberlist's count (see MaxPacketBudget).
	minShare = 32

	// Overheads of memberlist (net.go and util.go there).
	compoundHeader = 2 // for a packet
	messageHeader  = 3 // for a user message in it
)

// outbox holds broadcasts until they were sent often enough.
type outbox struct {
	budget  int
	queue   memberlist.TransmitLimitedQueue
	metrics *metrics
}

// maxMessage is the largest message that ever fits: one that doesn't would
// stay in memberlist's queue for ever.
func (o *outbox) maxMessage() int { return o.budget - compoundHeader - messageHeader - minShare }

// put queues a message, in place of an older one with the same key.
func (o *outbox) put(key string, msg []byte) bool {
	if len(msg) > o.maxMessage() || key == "" {
		o.metrics.dropped.WithLabelValues(dropTooLarge).Inc()
		return false
	}
	o.queue.QueueBroadcast(&broadcast{key: key, msg: msg})
	if o.queue.NumQueued() > maxQueuedBroadcasts {
		o.queue.Prune(maxQueuedBroadcasts)
	}
	return true
}

func (o *outbox) take(overhead, limit int) [][]byte {
	return o.queue.GetBroadcasts(overhead+minShare, limit)
}

// broadcast is a message in memberlist's queue.
type broadcast struct {
	key string
	msg []byte
}

var _ memberlist.NamedBroadcast = (*broadcast)(nil)

func (b *broadcast) Name() string    { return b.key }
func (b *broadcast) Message() []byte { return b.msg }
func (b *broadcast) Finished()       {}

func (b *broadcast) Invalidates(other memberlist.Broadcast) bool {
	o, ok := other.(*broadcast)
	return ok && o.key == b.key
}
