package replica

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// victim is a watcher that knows version 2.5 of east.
type victim struct {
	*Replica
	t       *testing.T
	pki     *pki
	east    *trust.Identity
	content *part
	old     []byte // the announcement of version 2.4, with a service that is gone
}

func newVictim(t *testing.T) *victim {
	p := newPKI(t)
	n := &network{}
	v := &victim{Replica: n.start(t, p, "w0.west", "west").Replica, t: t, pki: p, east: p.identity("east", trust.Watcher)}
	gone := records(t, service("gone", 1), service("user", 1))
	v.content = records(t, service("user", 3))
	v.old = v.message(v.east, &wire.Head{Epoch: 2, Seq: 4}, emptyPart, gone)
	v.HandleMessage("w0.east", v.message(v.east, &wire.Head{Epoch: 2, Seq: 5}, emptyPart, v.content))
	require.Equal(t, 3, ready(v.config.Table, "user", "east"))
	return v
}

// message announces a version as whoever holds that identity can sign it; the
// head's cluster is east unless it says otherwise.
func (v *victim) message(by *trust.Identity, w *wire.Head, base, content *part) []byte {
	if w.Cluster == "" {
		w.Cluster = "east"
	}
	if w.Uid == "" {
		w.Uid = "uid-east"
	}
	w.Clusterset, w.Root, w.Items = "test", content.root[:], uint32(content.items)
	h, err := sign(by, w)
	require.NoError(v.t, err)
	changed, removed := diff(base, content)
	a := &wire.Announcement{Head: h.signed, Delta: &wire.Delta{Removed: removed}}
	for _, it := range changed {
		a.Delta.Changed = append(a.Delta.Changed, &wire.Item{Key: it.key, Value: it.value})
	}
	return v.packed(a)
}

func (v *victim) packed(a *wire.Announcement) []byte {
	msg, err := proto.Marshal(&wire.Message{Body: &wire.Message_Announcement{Announcement: a}})
	require.NoError(v.t, err)
	return msg
}

// altered is a true message of east's next version after somebody's hands.
func (v *victim) altered(change func(a *wire.Announcement)) []byte {
	w := &wire.Message{}
	require.NoError(v.t, proto.Unmarshal(v.message(v.east, &wire.Head{Epoch: 2, Seq: 6}, v.content, records(v.t, service("user", 1))), w))
	a := w.GetAnnouncement()
	a.Delta.BaseSeq = 5
	change(a)
	return v.packed(a)
}

func count(t *testing.T, c *prometheus.CounterVec, label string) float64 {
	var m dto.Metric
	require.NoError(t, c.WithLabelValues(label).Write(&m))
	return m.GetCounter().GetValue()
}

// TestAttacksByMembers: what a member of the clusterset can say about others,
// itself or through a relay, changes nothing here, and each is counted under
// its reason.
func TestAttacksByMembers(t *testing.T) {
	evil := records(t, service("user", 0), service("evil", 9))
	for what, test := range map[string]struct {
		reason string // of isthmus_replica_refused_total
		attack func(v *victim) []byte
	}{
		"another cluster's records": {"impostor", func(v *victim) []byte {
			return v.message(v.pki.identity("central", trust.Watcher), &wire.Head{Epoch: 3, Seq: 1}, emptyPart, evil)
		}},
		"records signed by an agent of the cluster": {"impostor", func(v *victim) []byte {
			return v.message(v.pki.identity("east", trust.Agent), &wire.Head{Epoch: 3, Seq: 1}, emptyPart, evil)
		}},
		"records signed under another root": {"wrong_root", func(v *victim) []byte {
			return v.message(newPKI(t).identity("east", trust.Watcher), &wire.Head{Epoch: 3, Seq: 1}, emptyPart, evil)
		}},
		"another clusterset's records": {"clusterset", func(v *victim) []byte {
			return v.altered(func(a *wire.Announcement) {
				w := &wire.Head{}
				require.NoError(t, unmarshalHead(a.Head, w))
				w.Clusterset = "prod"
				a.Head.Head, _ = proto.Marshal(w)
			})
		}},
		"a signature of another head": {"signature", func(v *victim) []byte {
			return v.altered(func(a *wire.Announcement) {
				w := &wire.Head{}
				require.NoError(t, unmarshalHead(a.Head, w))
				w.Seq += 100
				a.Head.Head, _ = proto.Marshal(w)
			})
		}},
		"one version with two contents": {"equivocation", func(v *victim) []byte {
			return v.message(v.east, &wire.Head{Epoch: 2, Seq: 5}, emptyPart, evil)
		}},
		"the name with another uid": {"cloned", func(v *victim) []byte {
			return v.message(v.east, &wire.Head{Uid: "uid-clone", Epoch: 9, Seq: 1}, emptyPart, evil)
		}},
		"an epoch that nothing can follow": {"malformed", func(v *victim) []byte {
			return v.message(v.east, &wire.Head{Epoch: 1<<63 + 1, Seq: 1}, emptyPart, evil)
		}},
		"a record beyond its bound": {"limit", func(v *victim) []byte {
			return v.altered(func(a *wire.Announcement) { a.Delta.Changed[0].Value = make([]byte, 17<<10) })
		}},
		"octets that are no message": {"malformed", func(*victim) []byte { return []byte{0xff, 0xff, 0xff} }},
		"a message without an end":   {"malformed", func(*victim) []byte { return make([]byte, maxAnnouncement+1) }},
	} {
		for _, sender := range []string{"w0.east", "w0.central"} { // from itself, and through a relay
			t.Run(what+" from "+sender, func(t *testing.T) {
				v := newVictim(t)
				v.HandleMessage(sender, test.attack(v))
				h, part := v.store.get("east")
				require.Equal(t, v.content.root, part.root)
				require.EqualValues(t, 5, h.Seq)
				require.Equal(t, 3, ready(v.config.Table, "user", "east"))
				require.Equal(t, -1, ready(v.config.Table, "evil", "east"))
				require.Equal(t, 1.0, count(t, v.metrics.refused, test.reason))
			})
		}
	}
}

// TestReplays: what was true once is dropped, and counted as old.
func TestReplays(t *testing.T) {
	v := newVictim(t)
	v.HandleMessage("w0.central", v.old)
	v.HandleMessage("w0.east", v.old)
	require.Equal(t, -1, ready(v.config.Table, "gone", "east"))
	require.Equal(t, 3, ready(v.config.Table, "user", "east"))
	require.Equal(t, 2.0, count(t, v.metrics.announcements, old.String()))
}

// TestDeltaOfARelay: under a true head, a relay's own delta is not applied; the
// part has to be pulled.
func TestDeltaOfARelay(t *testing.T) {
	v := newVictim(t)
	v.HandleMessage("w0.central", v.altered(func(a *wire.Announcement) {
		a.Delta.Changed = append(a.Delta.Changed, &wire.Item{Key: "s/production/evil", Value: []byte{}})
	}))
	require.Equal(t, 3, ready(v.config.Table, "user", "east"))
	require.Equal(t, -1, ready(v.config.Table, "evil", "east"))
	require.Equal(t, 1.0, count(t, v.metrics.announcements, gap.String()))
}
