package replica

import (
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// TestAudience: everybody in a small clusterset; one watcher of each cluster,
// and all siblings, in a larger one; not more clusters than are affordable.
func TestAudience(t *testing.T) {
	r := alone(t, "c000")
	for _, test := range []struct{ clusters, each, want int }{
		{1, 0, 0}, {1, 2, 2}, {32, 2, 64}, {100, 2, 2 + 99}, {100, 3, 3 + 99}, {300, 2, 2 + pushClusters},
	} {
		got := map[string]int{}
		for _, peer := range r.audience(watchers(test.clusters, test.each).Peers()) {
			got[peer.Cluster]++
		}
		total := 0
		for cluster, n := range got {
			total += n
			if cluster != "c000" && test.clusters*test.each > pushAll {
				require.Equal(t, 1, n, cluster)
			}
		}
		require.Equal(t, test.want, total, test)
	}
}

// TestRelay: who is told of news, by who brought it.
func TestRelay(t *testing.T) {
	told := func(r *Replica, n *recorded, sender string, msg []byte) (siblings, others []string) {
		r.HandleMessage(sender, msg)
		for _, s := range n.take() {
			if strings.HasSuffix(s.to, ".c000") {
				siblings = append(siblings, s.to)
			} else {
				others = append(others, s.to)
			}
		}
		return siblings, others
	}
	knows := func(n *recorded) *Replica {
		r := alone(t, "c000")
		o := owns(t, "c001", &wire.Head{Epoch: 1, Seq: 1})
		_, _, err := r.store.adopt("c001", o.answer(), emptyPart)
		require.NoError(t, err)
		r.Attach(n)
		return r
	}
	n := watchers(100, 2)
	r := knows(n)
	msgs := beats(t, "c001", 2)
	siblings, others := told(r, n, "w0.c001", msgs[0])
	require.Len(t, siblings, 2)
	require.Len(t, others, relays)
	require.NotContains(t, others[0], ".c001", "its origin knows")

	siblings, others = told(r, n, "w1.c000", msgs[1])
	require.Empty(t, siblings, "a sibling told all of them")
	require.Len(t, others, relays)

	siblings, others = told(r, n, "w0.c002", msgs[1])
	require.Empty(t, siblings, "it is no news")
	require.Empty(t, others)

	n = &recorded{peers: []Peer{{Name: "w0.c002", Cluster: "c002"}, {Name: "w0.c001", Cluster: "c001"}}}
	siblings, others = told(knows(n), n, "w0.c002", msgs[0])
	require.Empty(t, siblings)
	require.Empty(t, others, "there is nobody but its origin and its sender")
}

// TestUnknownMessage: a later version's kinds of messages are counted, and do
// no harm.
func TestUnknownMessage(t *testing.T) {
	r := alone(t, "west")
	r.HandleMessage("w0.east", protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), []byte("news")))
	var m dto.Metric
	require.NoError(t, r.metrics.announcements.WithLabelValues(unknownOutcome).Write(&m))
	require.EqualValues(t, 1, m.GetCounter().GetValue())
}

// TestDigestMessage: what the sender lacks is sent to it, what we lack is
// asked from it.
func TestDigestMessage(t *testing.T) {
	r, n := crowd(t, 300), watchers(2, 1)
	r.Attach(n)
	mine := &wire.Digests{}
	require.NoError(t, proto.Unmarshal(r.Digest(), mine))
	require.Greater(t, len(mine.Digests), digestWindow)
	require.Len(t, r.window().Digests, digestWindow)

	digest := func(d ...*wire.Digest) []sent {
		msg, err := proto.Marshal(&wire.Message{Body: &wire.Message_Digests{Digests: &wire.Digests{Digests: d}}})
		require.NoError(t, err)
		r.HandleMessage("w0.c001", msg)
		return n.take()
	}
	require.Empty(t, digest(mine.Digests[:digestWindow]...), "it knows all that")

	behind := make([]*wire.Digest, 0, digestWindow)
	for _, d := range mine.Digests[:digestWindow] {
		d = proto.Clone(d).(*wire.Digest)
		d.Seq--
		behind = append(behind, d)
	}
	answers := digest(behind[:3]...)
	require.Len(t, answers, 3)
	require.Equal(t, "w0.c001", answers[0].to)
	w := &wire.Message{}
	require.NoError(t, proto.Unmarshal(answers[0].msg, w))
	require.Equal(t, r.store.heads.get(mine.Digests[0].Cluster).signed.Head, w.GetAnnouncement().Head.Head)
	require.Len(t, digest(behind...), digestAnswers)

	ahead := proto.Clone(mine.Digests[0]).(*wire.Digest)
	ahead.Seq++
	require.Empty(t, digest(ahead, &wire.Digest{Cluster: "new", Epoch: 1, Seq: 1}))
	require.Len(t, r.puller.wants, 2)
	require.Equal(t, "w0.c001", r.puller.wants["new"].hint)

	late := proto.Clone(mine.Digests[1]).(*wire.Digest)
	late.Heartbeat += 10
	digest(late)
	require.Len(t, r.puller.wants, 2, "a heartbeat is not worth a pull: our digest earns it")
}
