package manifest_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
	"github.com/isthmus-dns/isthmus/discovery/manifest"
)

// patience is for a loaded machine; what is awaited takes milliseconds.
const patience = 20 * time.Second

// receiver keeps the part as a Table would, and each update.
type receiver struct {
	mu       sync.Mutex
	updates  []discovery.Update
	cluster  *discovery.Cluster
	services map[discovery.Key]*discovery.Service
}

func (r *receiver) emit(u discovery.Update) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.updates = append(r.updates, u)
	if u.Whole {
		r.services = map[discovery.Key]*discovery.Service{}
	}
	if u.Cluster != nil {
		r.cluster = u.Cluster
	}
	for _, s := range u.Services {
		r.services[s.Key()] = s
	}
	for _, k := range u.Removed {
		delete(r.services, k)
	}
}

func (r *receiver) snapshot() (updates []discovery.Update, services []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, s := range r.services {
		services = append(services, fmt.Sprintf("%s=%d", key, s.Ready()))
	}
	slices.Sort(services)
	return slices.Clone(r.updates), services
}

// log is a slog target that tests may read while it is written.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// running is a source at work on a directory.
type running struct {
	*receiver
	t        testing.TB
	dir      string
	log      *log
	registry *prometheus.Registry
	stop     func() // may be called twice
}

func start(t testing.TB, dir string) *running { return startKeeping(t, dir, "") }

func startKeeping(t testing.TB, dir, keep string) *running {
	t.Helper()
	r := &running{receiver: &receiver{}, t: t, dir: dir, log: &log{}, registry: prometheus.NewRegistry()}
	source, err := manifest.New(manifest.Config{
		Dir: dir, Keep: keep,
		Cluster: func(nodes []*corev1.Node) *discovery.Cluster {
			return &discovery.Cluster{Name: "west", Locality: export.ClusterLocality(nodes)}
		},
		Logger:     slog.New(slog.NewTextHandler(r.log, nil)),
		Registerer: r.registry,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx, r.emit) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(r.stop)
	return r
}

// until waits for the part to hold exactly these services.
func (r *running) until(want ...string) {
	r.t.Helper()
	var got []string
	require.Eventually(r.t, func() bool {
		updates, services := r.snapshot()
		got = services
		return len(updates) > 0 && slices.Equal(got, want)
	}, patience, time.Millisecond, "want %v", want)
}

func (r *running) untilLogged(text string) {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return strings.Contains(r.log.String(), text) }, patience, time.Millisecond, "want the log to say %q", text)
}

// count is how many updates came so far.
func (r *running) count() int {
	updates, _ := r.snapshot()
	return len(updates)
}

func (r *running) last() discovery.Update {
	updates, _ := r.snapshot()
	return updates[len(updates)-1]
}

func TestFirstUpdateIsWhole(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "user.yaml", docs(serviceYAML("user"), sliceYAML("user", 3)))
	write(t, dir, "hidden.yaml", strings.Replace(serviceYAML("hidden"), `"true"`, `"false"`, 1))
	write(t, dir, "nodes.yml", docs(nodeYAML("node-1", "192.0.2.1", "west-a"), nodeYAML("node-2", "192.0.2.2", "west-a")))
	r := start(t, dir)
	r.until("user.production=3")
	first := r.last()
	require.Equal(t, 1, r.count())
	require.True(t, first.Whole)
	require.Empty(t, first.Removed)
	require.Equal(t, "west/west-a", first.Cluster.Locality.String())
	require.Equal(t, []discovery.ZoneCount{{Zone: "west-a", Ready: 3, Total: 3}}, first.Services[0].Counts)
}

func TestEmptyDirectoryIsAnEmptyPart(t *testing.T) {
	r := start(t, t.TempDir())
	r.until()
	require.True(t, r.last().Whole)
	require.NotNil(t, r.last().Cluster)
}

func TestRefreshWakesTheSource(t *testing.T) {
	var network atomic.Value
	network.Store("a")
	source, err := manifest.New(manifest.Config{Dir: t.TempDir(), Cluster: func([]*corev1.Node) *discovery.Cluster {
		return &discovery.Cluster{Name: "west", Network: network.Load().(string)}
	}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	updates, done := make(chan discovery.Update), make(chan error, 1)
	go func() { done <- source.Run(ctx, func(u discovery.Update) { updates <- u }) }()
	require.Equal(t, "a", (<-updates).Cluster.Network)
	network.Store("b")
	source.Refresh()
	source.Refresh() // doesn't wait
	require.Equal(t, "b", (<-updates).Cluster.Network)
	cancel()
	require.NoError(t, <-done)
}

func TestOnlyWhatChangedIsEmitted(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "user.yaml", serviceYAML("user"))
	write(t, dir, "user-slice.yaml", sliceYAML("user", 1))
	write(t, dir, "order.yaml", docs(serviceYAML("order"), sliceYAML("order", 1)))
	r := start(t, dir)
	r.until("order.production=1", "user.production=1")

	write(t, dir, "user-slice.yaml", sliceYAML("user", 0))
	r.until("order.production=1", "user.production=0")
	require.Len(t, r.last().Services, 1)
	require.False(t, r.last().Whole)
	require.Nil(t, r.last().Cluster)

	write(t, dir, "new.json", `{"apiVersion":"v1","kind":"Service","metadata":{"name":"new","annotations":{"isthmus.dev/export":"true"}},"spec":{"clusterIP":"10.96.0.9"}}`)
	r.until("new.default=0", "order.production=1", "user.production=0")

	require.NoError(t, os.Remove(filepath.Join(dir, "order.yaml")))
	r.until("new.default=0", "user.production=0")
	require.Equal(t, []discovery.Key{"order.production"}, r.last().Removed)
	require.Empty(t, r.last().Services)

	// The same text again, another text of the same meaning, and an object
	// that concerns nobody: nothing to say. The last write shows that they
	// were read.
	before := r.count()
	write(t, dir, "user.yaml", serviceYAML("user"))
	write(t, dir, "new.json", `{"apiVersion":"v1","kind":"Service","metadata":{"name":"new","labels":{"a":"b"},"annotations":{"isthmus.dev/export":"true"}},"spec":{"clusterIP":"10.96.0.9"}}`)
	write(t, dir, "stray.yaml", sliceYAML("nobody", 1))
	require.Eventually(t, func() bool { return r.metric("isthmus_manifest_reloads_total", "ok") == 7 }, patience, time.Millisecond)
	write(t, dir, "user-slice.yaml", sliceYAML("user", 2))
	r.until("new.default=0", "user.production=2")
	require.Equal(t, before+1, r.count())
}

// metric is the value of a metric with one label; -1 if there is none.
func (r *running) metric(name, label string) float64 {
	families, err := r.registry.Gather()
	require.NoError(r.t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return -1
}

func TestBrokenFileKeepsItsLastGoodState(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "user.yaml", docs(serviceYAML("user"), sliceYAML("user", 1)))
	write(t, dir, "order.yaml", serviceYAML("order"))
	r := start(t, dir)
	r.until("order.production=0", "user.production=1")

	write(t, dir, "user.yaml", docs(serviceYAML("user", "  prots: []\n"), sliceYAML("user", 2)))
	r.untilLogged(`problem="user.yaml:12: unknown field \"spec.prots\"" objects_kept=2`)
	write(t, dir, "order.yaml", docs(serviceYAML("order"), sliceYAML("order", 1)))
	r.until("order.production=1", "user.production=1")
	require.EqualValues(t, 1, r.metric("isthmus_manifest_files", "broken"))
	require.EqualValues(t, 1, r.metric("isthmus_manifest_files", "good"))

	write(t, dir, "user.yaml", docs(serviceYAML("user"), sliceYAML("user", 2)))
	r.until("order.production=1", "user.production=2")
	r.untilLogged("manifest is good again")

	write(t, dir, "user.yaml", "{")
	r.untilLogged(`problem="user.yaml:1: did not find expected node content"`)
	require.NoError(t, os.Remove(filepath.Join(dir, "user.yaml")))
	r.until("order.production=1")
	require.Eventually(t, func() bool { return r.metric("isthmus_manifest_reloads_total", "removed") == 1 }, patience, time.Millisecond)
}

func TestNodeChangeRebuildsNodePortServices(t *testing.T) {
	dir := t.TempDir()
	port := strings.Replace(serviceYAML("port"), "spec:", "spec:\n  type: NodePort", 1)
	write(t, dir, "port.yaml", docs(strings.Replace(port, "port: 80", "port: 80, nodePort: 30080", 1), sliceYAML("port", 1)))
	write(t, dir, "plain.yaml", docs(serviceYAML("plain"), sliceYAML("plain", 1)))
	write(t, dir, "nodes.yaml", nodeYAML("node-1", "192.0.2.1", "west-a"))
	r := start(t, dir)
	r.until("plain.production=1", "port.production=1")

	write(t, dir, "nodes.yaml", docs(nodeYAML("node-1", "192.0.2.7", "west-a"), nodeYAML("node-2", "192.0.2.8", "west-b")))
	require.Eventually(t, func() bool { return r.count() == 2 }, patience, time.Millisecond)
	got := r.last()
	require.Len(t, got.Services, 1)
	require.Equal(t, "192.0.2.7", got.Services[0].Gateways[0].Addresses[0].String())
	require.EqualValues(t, 30080, got.Services[0].Ports[0].Gateway)
	require.Equal(t, "west", got.Cluster.Locality.String(), "the cluster spans zones now")
}

func TestServiceExportDeclares(t *testing.T) {
	dir := t.TempDir()
	plain := strings.Replace(serviceYAML("user"), "  annotations:\n    isthmus.dev/export: \"true\"\n", "", 1)
	write(t, dir, "user.yaml", plain)
	r := start(t, dir)
	r.until()
	write(t, dir, "export.yaml", "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceExport\nmetadata: {name: user, namespace: production, creationTimestamp: 2024-01-02T03:04:05Z}\n")
	r.until("user.production=0")
	require.Equal(t, time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC).Unix(), r.last().Services[0].ExportedAt)
	require.NoError(t, os.Remove(filepath.Join(dir, "user.yaml")))
	r.until()
	r.untilLogged("a ServiceExport names it, but there is no such Service")
}

func TestFirstFileByNameWins(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "b.yaml", docs(serviceYAML("user"), sliceYAML("user", 2)))
	r := start(t, dir)
	r.until("user.production=2")
	write(t, dir, "c.yaml", sliceYAML("user", 3))
	r.untilLogged(`problem="c.yaml:1: EndpointSlice production/user-1 is ignored here: b.yaml:13 has it too and its name sorts first"`)
	write(t, dir, "a.yaml", sliceYAML("user", 1))
	r.until("user.production=1")
	require.NoError(t, os.Remove(filepath.Join(dir, "a.yaml")))
	r.until("user.production=2")
	write(t, dir, "b.yaml", serviceYAML("user"))
	r.until("user.production=3")
}

// TestOptingOutIsNoProblem: what an owner wants is not what they are told of.
func TestOptingOutIsNoProblem(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "hidden.yaml", strings.Replace(serviceYAML("hidden"), `"true"`, `"false"`, 1))
	write(t, dir, "outside.yaml", strings.Replace(serviceYAML("outside"), "spec:", "spec:\n  type: ExternalName", 1))
	r := start(t, dir)
	r.until()
	r.untilLogged("not exported: ExternalName services have no endpoints to export")
	require.NotContains(t, r.log.String(), "hidden")
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	cluster := func([]*corev1.Node) *discovery.Cluster { return nil }
	_, err := manifest.New(manifest.Config{Dir: filepath.Join(t.TempDir(), "none"), Cluster: cluster})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = manifest.New(manifest.Config{Cluster: cluster})
	require.ErrorContains(t, err, "Config.Dir")
	_, err = manifest.New(manifest.Config{Dir: t.TempDir()})
	require.ErrorContains(t, err, "Config.Cluster")
	registry := prometheus.NewRegistry()
	for range 2 {
		_, err = manifest.New(manifest.Config{Dir: t.TempDir(), Cluster: cluster, Registerer: registry})
	}
	require.ErrorContains(t, err, "manifest metrics")
}
