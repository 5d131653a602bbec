package replica

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

// TestUrgentChangesComeAtABoundedRate: a thousand services that lose their last
// endpoint one after another within a second don't make a thousand messages to
// each peer. The first does not wait, and none waits for long.
func TestUrgentChangesComeAtABoundedRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const services = 1000
		g, n := startGuarded(t, services), watchers(1, 1)
		g.Attach(n)
		g.lead()
		n.take()
		down := func(i int) {
			g.publisher.Update(discovery.Update{Services: []*discovery.Service{service(fmt.Sprint("s", i), 0)}})
		}
		down(0)
		synctest.Wait()
		require.Equal(t, 0, ready(g.config.Table, "s0", "east"))
		for i := 1; i < services; i++ {
			down(i)
			pass(time.Millisecond)
		}
		pass(urgentPause)
		require.Equal(t, 0, ready(g.config.Table, fmt.Sprint("s", services-1), "east"))
		seqs := map[uint64]bool{}
		for _, w := range announcements(t, n.take()) {
			seqs[w.Seq] = true
		}
		require.LessOrEqual(t, len(seqs), services/10+2)
	})
}
