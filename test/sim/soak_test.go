package sim_test

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/sim"
)

var (
	seed     = flag.Uint64("sim.seed", 1, "seed of the network's and the load's random choices")
	clusters = flag.String("sim.clusters", "3,10,100,300", "numbers of clusters in the soak")
	losses   = flag.String("sim.loss", "0,1,10,30", "losses in the soak, in percent")
	services = flag.Int("sim.services", 0, "services of a cluster in the soak; 0: 1,000, or 200 from 300 clusters on")
	during   = flag.Duration("sim.during", time.Minute, "how long the soak measures each scenario")
	events   = flag.String("sim.events", "10,100", "numbers of clusters for the soak's events; empty: none")
)

// out is where the soak leaves its table and plots.
const out = "../../build/sim"

// soaking tells whether the whole table is wanted: an hour of two processors
// and 8 GiB.
func soaking(t *testing.T) {
	if os.Getenv("ISTHMUS_SOAK") == "" {
		t.Skip("ISTHMUS_SOAK is not set")
	}
}

func numbers(t *testing.T, list string) []float64 {
	var out []float64
	for _, s := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		n, err := strconv.ParseFloat(s, 64)
		require.NoError(t, err)
		out = append(out, n)
	}
	return out
}

func servicesOf(clusters int) int {
	switch {
	case *services > 0:
		return *services
	case clusters >= 300:
		return 200
	}
	return 1000
}

// report writes to a file and to the terminal.
func report(t *testing.T, name string, write func(w io.Writer)) {
	require.NoError(t, os.MkdirAll(out, 0o755))
	f, err := os.Create(filepath.Join(out, name))
	require.NoError(t, err)
	defer f.Close()
	fmt.Fprintf(f, "seed %d\n\n", *seed)
	write(f)
	write(os.Stdout)
}

// TestSoak is the whole table. Bars that are missed fail it at the
// end, when all is printed.
func TestSoak(t *testing.T) {
	soaking(t)
	var results []*sim.Result
	for _, n := range numbers(t, *clusters) {
		for _, percent := range numbers(t, *losses) {
			name := fmt.Sprintf("%g clusters %g %% loss", n, percent)
			t.Run(name, func(t *testing.T) {
				begun := time.Now()
				r := run(t, sim.Scenario{
					Clusters: int(n), Services: servicesOf(int(n)), Link: link(percent), Seed: *seed, During: *during,
				})
				results = append(results, r)
				fmt.Printf("seed %d, %s, real time %s\n", *seed, name, time.Since(begun).Round(time.Second))
				sim.WriteTable(os.Stdout, []*sim.Result{r})
			})
		}
	}
	report(t, "table.md", func(w io.Writer) { sim.WriteTable(w, results) })
	require.NoError(t, sim.WritePlots(out, results))
	for _, r := range results {
		require.Empty(t, r.Missed(), "%d clusters, loss %g", r.Clusters, r.Link.Loss)
	}
}

// TestSoakEvents is a long split, and what else befalls a clusterset.
func TestSoakEvents(t *testing.T) {
	soaking(t)
	var rows []*sim.Recovery
	for _, n := range numbers(t, *events) {
		for _, percent := range []float64{0, 10} {
			for _, e := range []sim.Event{sim.Split(10 * time.Minute), sim.FailOver(), sim.Crash()} {
				t.Run(fmt.Sprintf("%s, %g clusters %g %% loss", e.Name, n, percent), func(t *testing.T) {
					r := play(t, sim.Scenario{
						Clusters: int(n), Services: servicesOf(int(n)), Link: link(percent), Seed: *seed, During: time.Minute,
					}, e)
					rows = append(rows, r)
					sim.WriteRecoveries(os.Stdout, []*sim.Recovery{r})
				})
			}
		}
	}
	report(t, "events.md", func(w io.Writer) { sim.WriteRecoveries(w, rows) })
	for _, r := range rows {
		require.LessOrEqual(t, r.Took, r.Bar, "%s, %d clusters, loss %g", r.Event, r.Clusters, r.Link.Loss)
	}
}
