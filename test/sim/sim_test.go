package sim_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/sim"
)

// TestShort is what a push can wait for. Its times are the bubble's, so that a
// slow machine changes nothing.
func TestShort(t *testing.T) {
	var results []*sim.Result
	for _, clusters := range []int{3, 10} {
		for _, percent := range []float64{0, 10} {
			t.Run(fmt.Sprintf("%d clusters %g %% loss", clusters, percent), func(t *testing.T) {
				r := run(t, sim.Scenario{
					Clusters: clusters, Services: 1000, Link: link(percent), Seed: *seed, During: 2 * time.Minute,
				})
				results = append(results, r)
				require.Positive(t, r.Changes)
				require.Zero(t, r.Never)
				if percent == 0 {
					require.Empty(t, r.Missed())
				}
				// Of some dozen changes, p99 at the last watcher is the unluckiest
				// packet's: with loss the soak judges that, among many more.
				require.LessOrEqual(t, sim.Quantile(r.Pairs, 0.99), 15*time.Second)
				require.Len(t, r.Pairs, r.Changes*clusters*2)
			})
		}
	}
	sim.WriteTable(os.Stdout, results)
}

func TestShortEvents(t *testing.T) {
	var rows []*sim.Recovery
	for _, e := range []sim.Event{sim.Split(10 * time.Minute), sim.FailOver(), sim.Crash()} {
		for _, percent := range []float64{0, 10} {
			t.Run(fmt.Sprintf("%s, %g %% loss", e.Name, percent), func(t *testing.T) {
				r := play(t, sim.Scenario{
					Clusters: 10, Services: 100, Link: link(percent), Seed: *seed, During: 30 * time.Second,
				}, e)
				rows = append(rows, r)
				if percent > 0 {
					r.Bar = max(r.Bar, time.Minute) // one recovery tells little of what is lost when
				}
				require.LessOrEqual(t, r.Took, r.Bar)
			})
		}
	}
	sim.WriteRecoveries(os.Stdout, rows)
}
