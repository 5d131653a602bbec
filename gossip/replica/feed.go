package replica

import (
	"sync"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// feed hands announcements to all streams. A slow stream delays nobody: what
// it can't take in time is merged into a head without a delta, upon which its
// agent pulls.
type feed struct {
	mu    sync.Mutex
	boxes map[*mailbox]struct{} // guarded by mu
}

// mailboxDepth is how many announcements of one cluster wait for a slow stream
// before they are merged.
const mailboxDepth = 16

func newFeed() *feed { return &feed{boxes: map[*mailbox]struct{}{}} }

func (f *feed) open() *mailbox {
	m := &mailbox{ready: make(chan struct{}, 1), waiting: map[string][]*wire.StreamMessage{}}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.boxes[m] = struct{}{}
	return m
}

func (f *feed) close(m *mailbox) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.boxes, m)
}

// sendAll hands a message that belongs to no cluster to all streams; a later
// one takes the place of one that waits.
func (f *feed) sendAll(s *wire.StreamMessage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for m := range f.boxes {
		m.set("", s)
	}
}

func (f *feed) send(cluster string, a *wire.Announcement) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for m := range f.boxes {
		m.put(cluster, a)
	}
}

// mailbox is what waits for one stream, by cluster and in order within it.
type mailbox struct {
	ready chan struct{} // capacity 1

	mu      sync.Mutex
	waiting map[string][]*wire.StreamMessage // guarded by mu
}

func (m *mailbox) put(cluster string, a *wire.Announcement) {
	m.mu.Lock()
	defer m.mu.Unlock()
	queue := m.waiting[cluster]
	if len(queue) >= mailboxDepth {
		queue = nil
		a = &wire.Announcement{Head: a.Head}
	}
	m.waiting[cluster] = append(queue, streamed(a))
	m.signal()
}

// set replaces what waits under a name.
func (m *mailbox) set(name string, s *wire.StreamMessage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting[name] = []*wire.StreamMessage{s}
	m.signal()
}

func (m *mailbox) signal() {
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// take returns all that waits.
func (m *mailbox) take() []*wire.StreamMessage {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*wire.StreamMessage
	for _, queue := range m.waiting {
		out = append(out, queue...)
	}
	clear(m.waiting)
	return out
}

func streamed(a *wire.Announcement) *wire.StreamMessage {
	return &wire.StreamMessage{Body: &wire.StreamMessage_Announcement{Announcement: a}}
}
