//go:build linux

package dnsperf

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	rounds   = flag.Int("rounds", 6, "rounds of each comparison; every server has its turn in each")
	turn     = flag.Duration("turn", 5*time.Second, "length of one server's turn, whole seconds")
	profiles = flag.String("profiles", "", "folder for a CPU profile of each server, taken in an extra turn; puts pprof into the stanzas")
)

// warmup is the first turn of each server: what it builds when first asked,
// and the growth of its heap, are not what a query costs.
const warmup = 2 * time.Second

// BenchmarkDNSPerf compares our agent with CoreDNS's hosts plugin. Its results
// are the medians over all rounds of processor time per query and the ratio,
// each round's own, since what disturbs one turn lasts for the next.
func BenchmarkDNSPerf(b *testing.B) {
	dnsperf := tool(b, "dnsperf")
	program := isthmus(b)
	dir := b.TempDir()
	watcher := startClusterset(b, dir, program)
	writeHosts(b, dir)
	input := filepath.Join(dir, "queries")
	writeQueries(b, input)

	for _, stanza := range []struct {
		name  string
		usual bool
	}{{"plain", false}, {"usual", true}} {
		b.Run(stanza.name, func(b *testing.B) {
			servers := []*server{
				coreDNS(b, dir, program, "hosts", stanzaHosts, stanza.usual),
				coreDNS(b, dir, program, "isthmus", fmt.Sprintf(stanzaIsthmus, watcher), stanza.usual),
			}
			if !stanza.usual { // Knot has no such plugins
				servers = append(servers, startKnot(b, dir)...)
			}
			for _, s := range servers {
				s.await(b)
				load(b, dnsperf, s, input, warmup)
			}
			var samples [][]sample
			for b.Loop() {
				samples = interleave(b, dnsperf, servers, input)
			}
			show(b, servers, samples)
			takeProfiles(b, dnsperf, stanza.name, servers, input)
		})
	}
}

// interleave runs all rounds and returns the samples of each server. Every
// other round goes backwards, so that a drift of the machine hits all alike.
func interleave(tb testing.TB, dnsperf string, servers []*server, input string) [][]sample {
	samples := make([][]sample, len(servers))
	for round := range *rounds {
		for n := range servers {
			i := n
			if round%2 == 1 {
				i = len(servers) - 1 - n
			}
			samples[i] = append(samples[i], measure(tb, dnsperf, servers[i], input, *turn))
		}
	}
	// Knot's are smaller: CoreDNS compresses names only when it has to.
	require.Equal(tb, samples[0][0].response, samples[1][0].response, "size of answers")
	return samples
}

// show prints the table and reports the benchmark's metrics. Ratios are to the
// first server, of the same round.
func show(b *testing.B, servers []*server, samples [][]sample) {
	table := tabwriter.NewWriter(b.Output(), 0, 8, 2, ' ', tabwriter.AlignRight)
	first := servers[0].name
	fmt.Fprintf(table, "server\tµs CPU/query\t(min … max)\tqueries/s\t× %s\t(min … max)\t\n", first)
	for i, s := range servers {
		cpu := spreadOf(samples[i], func(_ int, s sample) float64 { return s.perQuery() })
		qps := spreadOf(samples[i], func(_ int, s sample) float64 { return s.qps })
		ratio := spreadOf(samples[i], func(n int, s sample) float64 { return s.perQuery() / samples[0][n].perQuery() })
		fmt.Fprintf(table, "%s\t%.2f\t(%.2f … %.2f)\t%.0f\t%.3f\t(%.3f … %.3f)\t\n",
			s.name, cpu.median, cpu.min, cpu.max, qps.median, ratio.median, ratio.min, ratio.max)
		b.ReportMetric(cpu.median, s.name+"-µs-cpu/query")
		b.ReportMetric(qps.median, s.name+"-queries/s")
		if i > 0 {
			b.ReportMetric(ratio.median, s.name+"/"+first)
		}
	}
	require.NoError(b, table.Flush())
	b.ReportMetric(0, "ns/op") // a run's length says nothing
}

// spread is the middle and the ends of several measurements.
type spread struct{ min, median, max float64 }

func spreadOf(samples []sample, f func(int, sample) float64) spread {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = f(i, s)
	}
	slices.Sort(values)
	middle := len(values) / 2
	median := values[middle]
	if len(values)%2 == 0 {
		median = (values[middle-1] + median) / 2
	}
	return spread{min: values[0], median: median, max: values[len(values)-1]}
}

// takeProfiles profiles each server under load, when asked to.
func takeProfiles(tb testing.TB, dnsperf, stanza string, servers []*server, input string) {
	for _, s := range servers {
		if s.profile == "" {
			continue
		}
		name := filepath.Join(*profiles, stanza+"-"+s.name+".prof")
		done := make(chan error, 1)
		go func() {
			done <- fetch(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.profile, int(turn.Seconds())), name)
		}()
		load(tb, dnsperf, s, input, *turn+time.Second)
		require.NoError(tb, <-done)
	}
}

func fetch(url, name string) error {
	response, err := (&http.Client{Timeout: *turn + 30*time.Second}).Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, 64<<20))
	if err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o600)
}

func TestSpread(t *testing.T) {
	samples := []sample{{qps: 4}, {qps: 1}, {qps: 3}, {qps: 10}}
	byQPS := func(_ int, s sample) float64 { return s.qps }
	require.Equal(t, spread{1, 3.5, 10}, spreadOf(samples, byQPS))
	require.Equal(t, spread{1, 3, 4}, spreadOf(samples[:3], byQPS))
}
