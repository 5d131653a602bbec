package replica

import (
	"strconv"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// answerOf is what a watcher would send to who has the base.
func (w *lawWorld) answerOf(from *lawNode, cluster string, base *part) *pulled {
	h, part := from.store.get(cluster)
	if h == nil {
		return nil
	}
	got := &pulled{head: h.signed, buckets: part.differing(base.prefixes())}
	for _, n := range got.buckets {
		if b := part.buckets[n]; b != nil {
			got.items = append(got.items, b.all()...)
		}
	}
	return got
}

// pullInto takes a part from a watcher, new or old, whole or spoilt; messages
// may come while the answer is on its way.
func (w *lawWorld) pullInto(s *store, from *lawNode, cluster string, meanwhile func()) (*head, outcome) {
	_, base := s.get(cluster)
	if base == nil {
		base = emptyPart
	}
	got := w.answerOf(from, cluster, base)
	if got == nil {
		return nil, old
	}
	if w.rng.IntN(4) == 0 {
		meanwhile()
		if _, now := s.get(cluster); now != nil && now != base {
			w.did["moving base"]++
		}
	}
	if len(got.items) > 0 && w.rng.IntN(8) == 0 {
		w.requireSpoiltIsRefused(s, cluster, got, base)
		return nil, old
	}
	h, result, err := s.adopt(cluster, got, base)
	require.NoError(w.t, err, "seed %d", w.seed)
	if result == applied {
		w.did["applied by pull"]++
		w.requireTable(s, cluster)
	}
	return h, result
}

// requireTable compares the table with the part that it is made from.
func (w *lawWorld) requireTable(s *store, cluster string) {
	want := map[string]uint32{}
	_, p := s.get(cluster)
	for key, value := range contentOf(p) {
		if k, ok := parseServiceKey(key); ok {
			record, err := decodeService(k, []byte(value))
			require.NoError(w.t, err)
			want[record.Name] = record.Ready()
		}
	}
	require.Equal(w.t, want, shownOf(s.table, cluster), "seed %d: table of %s", w.seed, cluster)
}

// requireSpoiltIsRefused takes away, changes or adds an item.
func (w *lawWorld) requireSpoiltIsRefused(s *store, cluster string, got *pulled, base *part) {
	i := w.rng.IntN(len(got.items))
	switch w.rng.IntN(3) {
	case 0:
		got.items = append(got.items[:i:i], got.items[i+1:]...)
	case 1:
		items := append([]item(nil), got.items...)
		items[i] = newItem(items[i].key, append([]byte{0}, items[i].value...))
		got.items = items
	default:
		got.items = append(got.items[:len(got.items):len(got.items)], newItem(got.items[i].key+"x", nil))
		if len(got.buckets) == bucketCount {
			return // it may lie in a named bucket and is refused by its root
		}
	}
	_, _, err := s.adopt(cluster, got, base)
	require.ErrorIs(w.t, err, errRoot, "seed %d", w.seed)
	w.did["tampered pull refused"]++
}

func (w *lawWorld) pull(to, from *lawNode, cluster string) bool {
	h, result := w.pullInto(to.store, from, cluster, func() { w.deliverTo(to, cluster) })
	if h != nil && result != old {
		to.puller.took(h)
	}
	return result == applied
}

// exchange is memberlist's push/pull between two watchers.
func (w *lawWorld) exchange() {
	a, b := w.pick(), w.pick()
	w.digest(a, b)
	w.digest(b, a)
}

// digest gives one watcher another's digest, and has it pull what it lacks.
func (w *lawWorld) digest(to, from *lawNode) (moved bool) {
	encoded := from.Digest()
	to.HandleDigest(encoded)
	digests := &wire.Digests{}
	require.NoError(w.t, proto.Unmarshal(encoded, digests))
	for _, d := range digests.Digests {
		for tries := 0; to.lacks(d) && tries < 20; tries++ { // some answers are spoilt
			before := to.store.heads.get(d.Cluster)
			w.pull(to, from, d.Cluster)
			moved = moved || to.store.heads.get(d.Cluster) != before
		}
	}
	return moved
}

// lawAgent is an agent with its stream from a watcher.
type lawAgent struct {
	*Subscriber
	*lawCopy
	watcher *lawNode
	box     *mailbox
}

func newLawAgent(w *lawWorld) *lawAgent {
	s, err := NewSubscriber(SubscriberConfig{Watchers: []string{"any"}, Identity: w.keys.agent, Table: discovery.NewTable()})
	require.NoError(w.t, err)
	return &lawAgent{Subscriber: s, lawCopy: &lawCopy{
		name: "agent" + strconv.Itoa(len(w.agents)), held: s.store, shown: map[string]discovery.Version{},
	}}
}

// renewAgents gives all agents a life without memory.
func (w *lawWorld) renewAgents() {
	for _, a := range w.agents {
		a.watcher.feed.close(a.box)
	}
	w.agents = nil
	for range 2 {
		a := newLawAgent(w)
		a.follow(w, w.pick())
		w.agents = append(w.agents, a)
	}
}

// follow begins a stream: all heads, and then what comes.
func (a *lawAgent) follow(_ *lawWorld, n *lawNode) {
	if a.box != nil {
		a.watcher.feed.close(a.box)
	}
	a.watcher, a.box = n, n.feed.open()
	for _, h := range n.store.heads.all() {
		a.handle(streamed(&wire.Announcement{Head: h.bare()}))
	}
}

// pull fetches a cluster's part where the watcher is ahead.
func (a *lawAgent) pull(w *lawWorld, cluster string) {
	for tries := 0; tries < 20; tries++ {
		theirs, ours := a.watcher.store.heads.get(cluster), a.store.heads.get(cluster)
		if theirs == nil || ours != nil && !ours.version().Less(theirs.version()) {
			return
		}
		w.pullInto(a.store, a.watcher, cluster, func() { a.read() })
	}
}

func (a *lawAgent) read() {
	for _, m := range a.box.take() {
		a.handle(m)
	}
}

func (w *lawWorld) agent() *lawAgent { return w.agents[w.rng.IntN(len(w.agents))] }

func (w *lawWorld) agentReads() { w.agent().read() }

func (w *lawWorld) agentMoves() {
	w.agent().follow(w, w.pick())
	w.did["agent changed watchers"]++
}

func (w *lawWorld) agentPulls() { w.agent().pull(w, w.cluster()) }
