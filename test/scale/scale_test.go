package scale

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

// DESIGN section 10's bars.
const (
	watcherMemory = 200 << 20
	agentMemory   = 150 << 20
	agentSync     = 5 * time.Second
	watcherSync   = 10 * time.Second
)

// patience bounds waits; nothing waits for it to pass.
const patience = 2 * time.Minute

// BenchmarkScale measures 100 clusters with 1,000 services each, of which 1 %
// change a minute, and fails when a bar is missed.
func BenchmarkScale(b *testing.B) {
	for b.Loop() {
		w := newWorld(b, 100, 1000, 1000)
		w.measure(time.Minute)
		w.report.print()
		w.report.judge(b)
	}
	b.ReportMetric(0, "ns/op")
}

// TestSmall takes the benchmark's way with a few clusters, so that it can't
// rot: everything gets everywhere, at whatever cost.
func TestSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	w := newWorld(t, 6, 20, 600)
	w.measure(0)
	require.Len(t, w.report.rows, 8)
	for _, r := range w.report.rows {
		require.Positive(t, r.value, r.what)
	}
}

// world is the light clusters and the real ones among them.
type world struct {
	t          testing.TB
	set        *cluster.Set
	west, late *cluster.Cluster
	crowd      *crowd
	clusters   int
	services   int // of each cluster
	report     *report
}

// deployed is the environment that a manifest of deploy gives its program,
// less what names the Pod.
func deployed(t testing.TB, manifest string) []string {
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "base", manifest))
	require.NoError(t, err)
	var workload struct {
		Spec struct{ Template corev1.PodTemplateSpec }
	}
	require.NoError(t, yaml.Unmarshal(text, &workload))
	var out []string
	for _, v := range workload.Spec.Template.Spec.Containers[0].Env {
		if v.ValueFrom == nil {
			out = append(out, v.Name+"="+v.Value)
		}
	}
	require.NotEmpty(t, out)
	return out
}

// newWorld starts so many light clusters less two, and writes what the two real
// ones need.
func newWorld(t testing.TB, clusters, services, changesPerMinute int) *world {
	w := &world{t: t, clusters: clusters, services: services, report: &report{}}
	w.set = cluster.New(t)
	w.crowd = newCrowd(t, w.set.Authority, clusters-2, services)
	w.west = w.set.Add(cluster.Spec{
		Name: "west", Seeds: w.crowd.seeds(),
		WatcherEnv: deployed(t, "watcher-deployment.yaml"), AgentEnv: deployed(t, "agent-daemonset.yaml"),
	})
	w.late = w.set.Add(cluster.Spec{Name: "late", Seeds: w.crowd.seeds(), WatcherEnv: deployed(t, "watcher-deployment.yaml")})
	w.export(w.west)
	w.export(w.late)
	w.crowd.change(changesPerMinute)
	return w
}

// export writes a real cluster's services, beside the one that it has from its
// beginning.
func (w *world) export(c *cluster.Cluster) {
	var b strings.Builder
	for i := range w.services - 1 {
		if i > 0 {
			b.WriteString("---\n")
		}
		namespace, name := serviceName(w.clusters, i)
		b.WriteString(cluster.Service{Namespace: namespace, Name: name, Ready: 3}.YAML(c))
		if i%100 == 99 || i == w.services-2 {
			file := filepath.Join(c.Dir, "manifests", fmt.Sprintf("services-%04d.yaml", i))
			require.NoError(w.t, cluster.Replace(file, b.String()))
			b.Reset()
		}
	}
}

// measure starts the real processes one after the other; steady is how long
// they are watched when all is in step.
func (w *world) measure(steady time.Duration) {
	w.t.Logf("%d light clusters with %d watchers each run", len(w.crowd.clusters), watchersPerCluster)
	w.west.Watcher.Start()
	w.wait("first watcher has all", func() bool { return w.whole(w.west, w.clusters-1) })

	begun := time.Now()
	w.west.Agent.Start()
	w.wait("new agent is ready", w.west.AgentReady)
	w.report.took("new agent in sync, from exec", time.Since(begun), agentSync)
	w.answers("after the first sync")

	begun = time.Now()
	w.late.Watcher.Start()
	w.wait("new watcher is ready", func() bool { return w.late.WatcherReady() })
	ready := time.Since(begun)
	w.wait("new watcher has all", func() bool { return w.whole(w.late, w.clusters) })
	w.report.took("new watcher has everything, from exec", time.Since(begun), watcherSync)
	w.report.note("its /readyz after %.2f s", ready.Seconds())
	w.wait("agent has the new cluster", func() bool { return w.says("shared-service-0000.team-00.global.", "late") })

	w.steady(steady)

	w.west.Agent.Stop()
	begun = time.Now()
	w.west.Agent.Start()
	w.wait("agent answers from disk", func() bool { return w.says("shared-service-0000.team-00.global.", "light-000") })
	w.report.took("agent restarted with its copy: first right answer", time.Since(begun), agentSync)
	if info, err := os.Stat(filepath.Join(w.west.Snapshot(), "table.isthmus")); err == nil {
		w.report.note("its copy on disk: %.1f MiB", float64(info.Size())/(1<<20))
	}
}

// whole tells whether a watcher's table has all clusters and services.
func (w *world) whole(c *cluster.Cluster, clusters int) bool {
	return c.WatcherReady() && c.Metric("isthmus_table_clusters") >= float64(clusters) &&
		c.Metric("isthmus_table_services") >= float64(clusters*w.services)
}

// says tells whether west's agent knows a cluster's part in a name.
func (w *world) says(name, of string) bool {
	a, err := w.west.Ask(cluster.Query{Name: of + "." + name, Type: "A"})
	return err == nil && a.Rcode == "NOERROR" && len(a.Data) > 0
}

// answers asks for a service of each light cluster.
func (w *world) answers(when string) {
	for _, lc := range w.crowd.clusters {
		namespace, name := serviceName(lc.index, 1)
		require.True(w.t, w.says(name+"."+namespace+".global.", lc.name), "%s: nothing of %s", when, lc.name)
	}
}

// steady watches the processes for a while.
func (w *world) steady(d time.Duration) {
	watcher, agent := w.usage(w.west.Watcher), w.usage(w.west.Agent)
	in, out := w.octets("in"), w.octets("out")
	begun := time.Now()
	time.Sleep(d) // the load, not a wait: memory grows with time
	took := time.Since(begun)
	watcher2, agent2, late := w.usage(w.west.Watcher), w.usage(w.west.Agent), w.usage(w.late.Watcher)
	w.report.takes("watcher, resident", watcher2.resident, watcherMemory)
	w.report.takes("watcher that came late, resident", late.resident, watcherMemory)
	w.report.takes("agent, resident", agent2.resident, agentMemory)
	w.report.takes("watcher, peak", watcher2.peak, 0)
	w.report.takes("agent, peak", agent2.peak, 0)
	w.report.note("environment as in deploy: watcher %v, agent %v", w.west.WatcherEnv, w.west.AgentEnv)
	w.report.note("of the resident memory the program's own file: watcher %d MiB, agent %d MiB", watcher2.file>>20, agent2.file>>20)
	w.report.note("watcher: %.1f %% of a processor over %.0f s, %.0f goroutines, %d threads, %.0f connections",
		percent(watcher2.processor-watcher.processor, took), took.Seconds(), w.west.Metric("go_goroutines"),
		watcher2.threads, w.west.Metric("isthmus_transport_connections"))
	w.report.note("watcher: heap %.1f MiB in use, gossip and pulls %.1f KB/s in, %.1f KB/s out",
		w.west.Metric("go_memstats_heap_inuse_bytes")/(1<<20), (w.octets("in")-in)/1e3/took.Seconds(), (w.octets("out")-out)/1e3/took.Seconds())
	w.report.note("agent: %.1f %% of a processor, %d threads", percent(agent2.processor-agent.processor, took), agent2.threads)
}

func (w *world) usage(p *cluster.Process) usage {
	u, err := usageOf(p.PID())
	require.NoError(w.t, err)
	return u
}

func (w *world) octets(way string) float64 {
	return w.west.Metric("isthmus_transport_octets_total", "direction", way)
}

func percent(d, of time.Duration) float64 { return 100 * d.Seconds() / of.Seconds() }

// wait polls: what is waited for takes seconds, and a look costs little.
func (w *world) wait(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		require.True(w.t, time.Now().Before(deadline), "%s: not within %v", what, patience)
	}
}
