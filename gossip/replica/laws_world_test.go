package replica

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// lawKeys are identities that all schedules share: making one takes longer than
// a schedule. All keys are known to all from the start, as after a while.
type lawKeys struct {
	watchers map[string]*trust.Identity // by member
	agent    *trust.Identity
}

func newLawKeys(t *testing.T) *lawKeys {
	k := &lawKeys{watchers: map[string]*trust.Identity{}}
	for _, cluster := range []string{"east", "west", "central"} {
		for i := range 2 {
			identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: cluster, Role: trust.Watcher})
			require.NoError(t, err)
			k.watchers[cluster+strconv.Itoa(i)] = identity
		}
	}
	var err error
	k.agent, err = trust.Insecure(trust.ID{Clusterset: "test", Cluster: "west", Role: trust.Agent})
	require.NoError(t, err)
	for _, by := range k.watchers {
		s, err := by.Sign([]byte("hello"))
		require.NoError(t, err)
		for _, to := range k.watchers {
			_, err = to.Verify([]byte("hello"), s)
			require.NoError(t, err)
		}
		_, err = k.agent.Verify([]byte("hello"), s)
		require.NoError(t, err)
	}
	return k
}

// lawWorld is a clusterset without time, sockets or goroutines: what happens
// next is for the schedule to say.
type lawWorld struct {
	t        *testing.T
	seed     uint64
	rng      *rand.Rand
	keys     *lawKeys
	clusters []string
	nodes    []*lawNode
	agents   []*lawAgent
	epochs   map[string]*counter
	lost     map[string]bool              // clusters whose epoch store was lost and not used since
	truth    map[string]map[string]uint32 // what each cluster's source says: ready endpoints by service
	led      map[string]bool              // by the end
	packets  []lawPacket                  // on their way
	sent     []lawPacket                  // ever
	did      map[string]int
}

type lawPacket struct {
	from    string // a member
	to      *lawNode
	cluster string // whose news it is, "" for digests
	msg     []byte
}

// lawCopy is a copy of the table, a watcher's or an agent's.
type lawCopy struct {
	name  string
	held  *store
	shown map[string]discovery.Version
}

// lawNode is one life of a watcher.
type lawNode struct {
	*Replica
	*lawCopy
	world     *lawWorld
	publisher *Publisher
	source    []discovery.Update // that it has not seen yet
	leads     bool               // believes that it does
	epoch     uint64
}

var _ Network = (*lawNode)(nil)

// Send implements Network.
func (n *lawNode) Send(member string, msg []byte) error {
	var m wire.Message
	if err := proto.Unmarshal(msg, &m); err != nil {
		return err
	}
	p := lawPacket{from: n.name, msg: msg}
	if a := m.GetAnnouncement(); a != nil {
		var h wire.Head
		if err := unmarshalHead(a.GetHead(), &h); err != nil {
			return err
		}
		p.cluster = h.Cluster
	}
	for _, p.to = range n.world.nodes {
		if p.to.name == member {
			n.world.send(p)
		}
	}
	return nil
}

// Peers implements Network.
func (n *lawNode) Peers() (out []Peer) {
	for _, other := range n.world.nodes {
		if other != n {
			out = append(out, Peer{Name: other.name, Cluster: other.cluster})
		}
	}
	return out
}

func (w *lawWorld) send(p lawPacket) {
	w.packets = append(w.packets, p)
	if len(w.sent) < 200 {
		w.sent = append(w.sent, p)
	} else {
		w.sent[w.rng.IntN(len(w.sent))] = p
	}
	if len(w.packets) > 300 {
		w.lose()
	}
}

// start gives a watcher a life, without memory.
func (w *lawWorld) start(name, cluster string) *lawNode {
	r, err := New(Config{Member: name, Identity: w.keys.watchers[name], Table: discovery.NewTable()})
	require.NoError(w.t, err)
	n := &lawNode{
		Replica: r, world: w, publisher: r.NewPublisher(),
		lawCopy: &lawCopy{name: name, held: r.store, shown: map[string]discovery.Version{}},
	}
	n.publisher.Update(w.read(cluster))
	r.Attach(n)
	r.random = w.rng.IntN
	return n
}

// read is a source's first update.
func (w *lawWorld) read(cluster string) discovery.Update {
	u := whole(cluster)
	for name, ready := range w.truth[cluster] {
		u.Services = append(u.Services, service(name, ready))
	}
	return u
}

func (w *lawWorld) cluster() string { return w.clusters[w.rng.IntN(len(w.clusters))] }

func (w *lawWorld) pick() *lawNode {
	if len(w.nodes) == 0 {
		return nil
	}
	return w.nodes[w.rng.IntN(len(w.nodes))]
}

func (w *lawWorld) watchersOf(cluster string) (out []*lawNode) {
	for _, n := range w.nodes {
		if n.cluster == cluster {
			out = append(out, n)
		}
	}
	return out
}

func (w *lawWorld) copies() (out []*lawCopy) {
	for _, n := range w.nodes {
		out = append(out, n.lawCopy)
	}
	for _, a := range w.agents {
		out = append(out, a.lawCopy)
	}
	return out
}

// deliver hands over some packet, which may come again.
func (w *lawWorld) deliver() {
	for range 4 {
		if len(w.packets) == 0 {
			return
		}
		i := w.rng.IntN(len(w.packets))
		p := w.packets[i]
		if w.rng.IntN(5) > 0 {
			w.packets = slices.Delete(w.packets, i, i+1)
		}
		w.hand(p.to, p)
	}
}

// deliverTo hands over what is on its way to a watcher about a cluster.
func (w *lawWorld) deliverTo(to *lawNode, cluster string) {
	for _, p := range slices.Clone(w.packets) {
		if p.to == to && p.cluster == cluster && w.rng.IntN(2) == 0 {
			w.hand(to, p)
		}
	}
}

func (w *lawWorld) hand(to *lawNode, p lawPacket) {
	before := to.store.heads.get(p.cluster)
	to.HandleMessage(p.from, p.msg)
	if after := to.store.heads.get(p.cluster); after != nil && (before == nil || before.version() != after.version()) {
		w.did["applied by message"]++
	}
}

// sendDigest tells somebody what a watcher has, in a message.
func (w *lawWorld) sendDigest() {
	from, to := w.pick(), w.pick()
	if from == to {
		return
	}
	before := len(w.packets)
	msg, err := proto.Marshal(&wire.Message{Body: &wire.Message_Digests{Digests: from.window()}})
	require.NoError(w.t, err)
	w.hand(to, lawPacket{from: from.name, msg: msg})
	w.did["digest answered"] += len(w.packets) - before
}

func (w *lawWorld) lose() {
	for range 3 {
		if len(w.packets) > 0 {
			i := w.rng.IntN(len(w.packets))
			w.packets = slices.Delete(w.packets, i, i+1)
		}
	}
}

func (w *lawWorld) replay() {
	if len(w.sent) > 0 {
		p := w.sent[w.rng.IntN(len(w.sent))]
		w.hand(w.pick(), p)
		w.did["replayed"]++
	}
}

// forge is a relay that puts the delta of one message to the head of another.
func (w *lawWorld) forge() {
	if len(w.sent) == 0 {
		return
	}
	a, b := w.sent[w.rng.IntN(len(w.sent))], w.sent[w.rng.IntN(len(w.sent))]
	var head, delta wire.Message
	require.NoError(w.t, proto.Unmarshal(a.msg, &head))
	require.NoError(w.t, proto.Unmarshal(b.msg, &delta))
	if head.GetAnnouncement() == nil {
		return // a digest
	}
	head.GetAnnouncement().Delta = delta.GetAnnouncement().GetDelta()
	if d := head.GetAnnouncement().GetDelta(); d != nil && w.rng.IntN(2) == 0 {
		d.BaseSeq = uint64(w.rng.IntN(4))
	}
	msg, err := proto.Marshal(&head)
	require.NoError(w.t, err)
	w.did["forged delta"]++
	w.hand(w.pick(), lawPacket{from: b.from, cluster: a.cluster, msg: msg})
}

// changeSource changes a cluster; each of its watchers learns of it in its own
// time.
func (w *lawWorld) changeSource() {
	cluster := w.cluster()
	var u discovery.Update
	name := "s" + strconv.Itoa(w.rng.IntN(8))
	if ready, there := w.truth[cluster][name]; there && w.rng.IntN(3) == 0 {
		delete(w.truth[cluster], name)
		u.Removed = []discovery.Key{discovery.MakeKey("production", name)}
	} else {
		w.truth[cluster][name] = (ready + 1) % 4
		u.Services = []*discovery.Service{service(name, w.truth[cluster][name])}
	}
	for _, n := range w.watchersOf(cluster) {
		n.source = append(n.source, u)
		if w.rng.IntN(2) == 0 {
			n.catchUp()
		}
	}
}

func (w *lawWorld) sourceCatchesUp() { w.pick().catchUp() }

func (n *lawNode) catchUp() {
	for _, u := range n.source {
		n.publisher.Update(u)
	}
	n.source = nil
}

// publish is what a leader does, or one that does not know that it was
// followed.
func (w *lawWorld) publish() {
	var leaders []*lawNode
	for _, n := range w.nodes {
		if n.leads {
			leaders = append(leaders, n)
		}
	}
	if len(leaders) == 0 {
		return
	}
	n := leaders[w.rng.IntN(len(leaders))]
	if err := n.publisher.publishPending(n.epoch); err != nil {
		require.True(w.t, errors.Is(err, errDeposed) || errors.Is(err, errRetired), "seed %d: %v", w.seed, err)
		n.leads = false
		w.did["deposed"]++
	}
}

func (w *lawWorld) elect() {
	n := w.pick()
	if w.lost[n.cluster] { // nobody has led since
		w.hears(n)
	}
	if n.retiredError() == nil {
		w.lead(n)
	}
}

// lead makes a watcher the leader. Its rival may go on for a while.
func (w *lawWorld) lead(n *lawNode) {
	delete(w.lost, n.cluster)
	epoch, err := w.epochs[n.cluster].NextEpoch(w.t.Context(), n.highestOwn())
	require.NoError(w.t, err)
	require.NoError(w.t, n.publisher.accede(epoch), "seed %d", w.seed)
	require.NoError(w.t, n.publisher.publishPending(epoch), "seed %d", w.seed)
	n.publisher.epoch.Store(epoch)
	n.leads, n.epoch = true, epoch
}

func (w *lawWorld) beat() {
	if err := w.pick().publisher.beat(); err != nil {
		require.True(w.t, errors.Is(err, errDeposed) || errors.Is(err, errRetired), "seed %d: %v", w.seed, err)
	}
}

// crash ends a watcher's life and begins its next. Mostly it asks somebody what
// there is before it does anything.
func (w *lawWorld) crash() {
	i := w.rng.IntN(len(w.nodes))
	old := w.nodes[i]
	next := w.start(old.name, old.cluster)
	w.nodes[i] = next
	for j := range w.packets {
		if w.packets[j].to == old {
			w.packets[j].to = next
		}
	}
	for _, a := range w.agents {
		if a.watcher == old {
			a.follow(w, next)
		}
	}
	if w.rng.IntN(4) > 0 {
		w.digest(next, w.pick())
	}
	w.did["crashed"]++
}

// onlyAgentsKnow tells that the newest version of a cluster is known to no
// watcher any more: those that had it have crashed, all of them. Agents keep
// it, and follow as soon as somebody leads again.
func (w *lawWorld) onlyAgentsKnow(cluster string) bool {
	newest := func(copies []*lawCopy) (v discovery.Version) {
		for _, c := range copies {
			if h := c.held.heads.get(cluster); h != nil && v.Less(h.version()) {
				v = h.version()
			}
		}
		return v
	}
	all := w.copies()
	return newest(all[:len(w.nodes)]).Less(newest(all[len(w.nodes):]))
}

// loseEpochs takes a cluster's epoch store away. Who leads next has heard what
// all others hold, agents as well. (A leader whose messages reached nobody
// before it died with the store is beyond help: what is still on its way from
// it is lost here.)
func (w *lawWorld) loseEpochs() {
	cluster := w.cluster()
	ofIt := func(p lawPacket) bool { return p.cluster == cluster }
	w.packets, w.sent = slices.DeleteFunc(w.packets, ofIt), slices.DeleteFunc(w.sent, ofIt)
	w.epochs[cluster] = &counter{}
	w.lost[cluster] = true
	for _, n := range w.watchersOf(cluster) {
		n.leads = false
		w.hears(n)
	}
	if n := w.watchersOf(cluster)[w.rng.IntN(2)]; n.retiredError() == nil {
		w.lead(n)
	}
	w.did["epochs lost"]++
}

// hears tells a watcher what all others hold of its cluster.
func (w *lawWorld) hears(n *lawNode) {
	for _, peer := range w.nodes {
		w.digest(n, peer)
	}
	for _, a := range w.agents { // of this cluster, for once
		if h := a.held.heads.get(n.cluster); h != nil {
			n.recall(encodeRecalled(h))
		}
	}
}

// retire has an operator retire a cluster, or bring it back, who has looked
// around before. Most watchers hear of it.
func (w *lawWorld) retire() {
	cluster, through := w.cluster(), w.pick()
	for _, peer := range w.nodes {
		w.digest(through, peer)
	}
	was := through.store.heads.get(cluster)
	if was == nil {
		return
	}
	next, err := Retirement{Identity: w.keys.watchers[cluster+"0"], Undo: was.Retired}.successor(was)
	require.NoError(w.t, err)
	msg, err := message(&wire.Announcement{Head: next.signed})
	require.NoError(w.t, err)
	w.hand(through, lawPacket{cluster: cluster, msg: msg})
	for _, to := range w.nodes {
		if w.rng.IntN(4) > 0 {
			w.hand(to, lawPacket{from: through.name, cluster: cluster, msg: msg})
		}
	}
	w.did[map[bool]string{false: "retired", true: "came back"}[was.Retired]]++
}

// isRetired tells whether a cluster is retired by the newest that watchers know.
func (w *lawWorld) isRetired(cluster string) bool {
	var newest *head
	for _, n := range w.nodes {
		if h := n.store.heads.get(cluster); h != nil && h.newerThan(newest) {
			newest = h
		}
	}
	return newest != nil && newest.Retired
}
