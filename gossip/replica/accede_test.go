package replica

import (
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// announcements are those among what was sent.
func announcements(t testing.TB, all []sent) (out []*wire.Head) {
	for _, s := range all {
		m, w := &wire.Message{}, &wire.Head{}
		require.NoError(t, proto.Unmarshal(s.msg, m))
		if a := m.GetAnnouncement(); a != nil {
			require.NoError(t, unmarshalHead(a.Head, w))
			out = append(out, w)
		}
	}
	return out
}

// TestNobodyPullsAtAFailOver: a new leader begins with the content that peers
// hold already, and what has changed follows as a delta.
func TestNobodyPullsAtAFailOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next, peer, n := alone(t, "east"), alone(t, "west"), watchers(1, 1)
		next.Attach(n)
		go func() { _ = next.Run(t.Context()) }()
		before := records(t, service("user", 3), service("gone", 1), service("same", 2))
		h, _ := from(t, next.config.Identity, &wire.Head{Uid: "uid-east", Epoch: 7, Seq: 5, Heartbeat: 2}, before)
		bring(t, next, h, before)
		bring(t, peer, h, before)
		p := next.NewPublisher()
		p.Update(whole("east", service("user", 0), service("same", 2), service("late", 1)))
		go func() { _ = p.Lead(t.Context(), &counter{}) }()
		pass(time.Second)
		all := n.take()
		versions := []discovery.Version{}
		for _, w := range announcements(t, all) {
			versions = append(versions, discovery.Version{Epoch: w.Epoch, Seq: w.Seq})
		}
		require.Equal(t, []discovery.Version{{Epoch: 8, Seq: 1}, {Epoch: 8, Seq: 2}}, versions)
		for _, s := range all {
			peer.HandleMessage("w0.east", s.msg)
		}
		have, _ := peer.store.get("east")
		require.Equal(t, discovery.Version{Epoch: 8, Seq: 2}, have.version())
		require.Equal(t, 0, ready(peer.config.Table, "user", "east"))
		require.Equal(t, -1, ready(peer.config.Table, "gone", "east"))
		require.Equal(t, 1, ready(peer.config.Table, "late", "east"))
		var m dto.Metric
		require.NoError(t, peer.metrics.announcements.WithLabelValues(gap.String()).Write(&m))
		require.Zero(t, m.GetCounter().GetValue())
	})
}
