package replica

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// later is a cluster's watcher of a version to come: it writes fields that this
// one does not know into everything, items of a kind that it does not know, and
// fields in another order than this one would.
type later struct {
	t       testing.TB
	cluster string
	content *part
	head    *head
	chain   *wire.SignedHead
	message []byte // the head and all items, as one message
	bare    []byte // the head alone
}

// unknown is a field of a version to come.
func unknown(what string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, 1000, protowire.BytesType), "later: "+what)
}

// field appends a field of octets, known or not.
func field(to []byte, number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, number, protowire.BytesType), value)
}

func newLater(t testing.TB, identity *trust.Identity, w *wire.Head) *later {
	l := &later{t: t, cluster: identity.ID().Cluster}
	record, err := encodeService(service("user", 3))
	require.NoError(t, err)
	own, err := encodeCluster(&discovery.Cluster{Name: l.cluster, UID: "uid-" + l.cluster, Network: "n1"})
	require.NoError(t, err)
	items := []item{
		newItem(clusterKey, append(unknown("cluster"), own...)),
		newItem("s/production/user", append(unknown("service"), record...)),
		newItem("s/production/user/part", []byte("no service by that name")),
		newItem("policy/production", unknown("a kind of item")),
	}
	l.content = emptyPart.with(items, nil)
	w.Clusterset, w.Cluster, w.Uid = "test", l.cluster, "uid-"+l.cluster
	w.Root, w.Items = l.content.root[:], uint32(len(items))
	w.ProtoReflect().SetUnknown(unknown("head"))
	l.head, err = sign(identity, w)
	require.NoError(t, err)
	l.chain = l.head.signed

	signed := field(unknown("signed head"), 3, l.chain.Signature)
	signed = field(field(signed, 2, l.chain.KeyId), 1, l.chain.Head)
	for _, der := range l.chain.Chain {
		signed = field(signed, 4, der)
	}
	delta := unknown("delta")
	for _, it := range items {
		delta = field(delta, 2, append(field(field(unknown("item"), 2, it.value), 1, []byte(it.key)), unknown("item again")...))
	}
	announcement := func(parts ...[]byte) []byte {
		return field(unknown("message"), 1, append(unknown("announcement"), concat(parts)...))
	}
	l.message = announcement(field(nil, 2, delta), field(nil, 1, signed))
	l.bare = announcement(field(nil, 1, signed))
	return l
}

func concat(parts [][]byte) (out []byte) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// requireIn wants all that the owner wrote in a copy, octet by octet, and what
// this version understands of it in the table.
func (l *later) requireIn(s *store, who string) {
	l.t.Helper()
	h, p := s.get(l.cluster)
	require.NotNil(l.t, h, who)
	require.Equal(l.t, l.chain.Head, h.signed.Head, who)
	require.Equal(l.t, l.chain.Signature, h.signed.Signature, who)
	require.Equal(l.t, l.chain.Chain, h.signed.Chain, who)
	require.Equal(l.t, contentOf(l.content), contentOf(p), who)
	require.Equal(l.t, 3, ready(s.table, "user", l.cluster), who)
	for _, c := range s.table.Clusters() {
		if c.Cluster.Name == l.cluster {
			require.Equal(l.t, "n1", c.Cluster.Network, who)
			require.Equal(l.t, 1, c.Services, who)
		}
	}
}

// TestLaterVersionPassesThroughMessages: what is news goes on as it came.
func TestLaterVersionPassesThroughMessages(t *testing.T) {
	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "east", Role: trust.Watcher})
	require.NoError(t, err)
	l := newLater(t, identity, &wire.Head{Epoch: 2, Seq: 1, Heartbeat: 7})
	msg := l.message
	for _, who := range []string{"the first", "the second", "the third"} { // each takes what the one before forwards
		r, n := alone(t, "west"), watchers(1, 1)
		r.Attach(n)
		r.HandleMessage("", msg)
		l.requireIn(r.store, who)
		out := n.take()
		require.Len(t, out, 1, who)
		require.Equal(t, l.message, out[0].msg, who)
		msg = out[0].msg

		beat := newLater(t, identity, &wire.Head{Epoch: 2, Seq: 1, Heartbeat: 8})
		r.HandleMessage("", beat.bare)
		out = n.take()
		require.Len(t, out, 1)
		require.Equal(t, beat.bare, out[0].msg, "a heartbeat, too")
	}
}

// TestLaterVersionPassesThroughPullsStreamsAndDisks: from watcher to watcher by
// pulls, to an agent by its stream, and through its copy on disk.
func TestLaterVersionPassesThroughPullsStreamsAndDisks(t *testing.T) {
	p, n := newPKI(t), &network{}
	l := newLater(t, p.identity("east", trust.Watcher), &wire.Head{Epoch: 2, Seq: 1})
	first := n.start(t, p, "w0.west", "west")
	n.mu.Lock()
	n.cut["w0.west"] = true // so that only pulls go on from here
	n.mu.Unlock()
	first.HandleMessage("", l.message)
	l.requireIn(first.store, "by message")

	central := n.start(t, p, "c0.central", "central")
	holds := func(s *store) func() bool { return func() bool { h, _ := s.get("east"); return h != nil } }
	eventually(t, "central pulls from west", func() bool { exchange(central, first); return holds(central.store)() })
	l.requireIn(central.store, "by pull")
	onward := n.start(t, p, "o0.onward", "onward")
	eventually(t, "onward pulls from central", func() bool { exchange(onward, central); return holds(onward.store)() })
	l.requireIn(onward.store, "by a second pull")

	dir := t.TempDir()
	onward.publisher.Update(whole("onward"))
	onward.lead(t, &counter{})
	s, stop := agent(t, p.identity("onward", trust.Agent), dir, onward.peer.Addr)
	eventually(t, "the agent is current", func() bool { return s.Table().Loaded() && !s.Stale() })
	l.requireIn(s.store, "by an agent's pull")
	newer := newLater(t, p.identity("east", trust.Watcher), &wire.Head{Epoch: 3, Seq: 1})
	onward.HandleMessage("", newer.message)
	eventually(t, "the stream brings the next", func() bool { h, _ := s.store.get("east"); return h.Epoch == 3 })
	newer.requireIn(s.store, "by stream")
	stop()

	again := unconnected(t, p.identity("onward", trust.Agent), dir)
	require.NoError(t, again.Restore())
	newer.requireIn(again.store, "from disk")
}

// TestMessagesOfLaterKindsAreLeftAlone: they are nobody's fault, and whether
// they are news can't be told, so nobody forwards them.
func TestMessagesOfLaterKindsAreLeftAlone(t *testing.T) {
	r, n := alone(t, "west"), watchers(1, 1)
	r.Attach(n)
	var refused []error
	r.store.refuse = func(_ string, err error) { refused = append(refused, err) }
	r.HandleMessage("", field(nil, 900, []byte("a body of a later version")))
	r.HandleMessage("", append(field(nil, 900, nil), unknown("message")...))
	r.HandleMessage("", nil)
	require.Empty(t, n.take())
	require.Empty(t, refused)

	o := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1})
	digest, err := proto.Marshal(&wire.Digest{Cluster: "east", Epoch: o.head.Epoch, Seq: o.head.Seq})
	require.NoError(t, err)
	r.HandleDigest(append(field(unknown("digests"), 2, append(unknown("digest"), digest...)), unknown("digests")...))
	require.Contains(t, r.puller.wants, "east", "digests with more in them count")

	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "west", Role: trust.Agent})
	require.NoError(t, err)
	s := unconnected(t, identity, "")
	m := &wire.StreamMessage{}
	require.NoError(t, proto.Unmarshal(field(nil, 900, []byte("later")), m))
	s.handle(m)
	require.Empty(t, s.Table().Clusters())
}
