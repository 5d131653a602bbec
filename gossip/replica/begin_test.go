package replica

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// TestTermBeginsByWhatIsPublished: who is told of a term's beginning sees what
// was published last, and what it says then is all that goes out.
func TestTermBeginsByWhatIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next, n := alone(t, "east"), watchers(1, 1)
		next.Attach(n)
		go func() { _ = next.Run(t.Context()) }()
		before := records(t, service("user", 2))
		h, _ := from(t, next.config.Identity, &wire.Head{Uid: "uid-east", Epoch: 7, Seq: 5, Heartbeat: 2}, before)
		p := next.NewPublisher()
		var seen []int
		p.BeginWith(func() {
			found := max(ready(next.config.Table, "user", "east"), 0)
			seen = append(seen, found)
			p.Update(discovery.Update{Services: []*discovery.Service{service("user", uint32(found))}})
		})
		p.Update(whole("east", service("user", 3)))
		bring(t, next, h, before)
		go func() { _ = p.Lead(t.Context(), &counter{}) }()
		pass(time.Second)
		require.Equal(t, []int{2}, seen)
		require.Equal(t, 2, ready(next.config.Table, "user", "east"))
		have, _ := next.store.get("east")
		require.EqualValues(t, 8, have.version().Epoch)
		for _, w := range announcements(t, n.take()) {
			require.LessOrEqual(t, w.Seq, uint64(2), "the cluster's record, and no service")
		}
	})
}
