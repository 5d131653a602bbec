package watch

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/api"
	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/config"
	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/probe"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/gossip/trust"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

// lines is a log that a test may read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// take is what was logged since the last call.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

// running is a watcher that follows its file, and an agent of it.
type running struct {
	*Watcher
	t       *testing.T
	options Options
	stop    func()
	file    string
	base    string // what stands in the file besides what a test is about
	gossip  string
	log     *lines
	hangup  chan os.Signal
	agent   *replica.Subscriber
}

// live runs a watcher of a cluster, from a file with base and the given text.
func live(t *testing.T, cluster, text string) *running { return liveWith(t, cluster, text, Options{}) }

func liveWith(t *testing.T, cluster, text string, o Options) *running {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "manifests"), 0o755))
	r := &running{t: t, file: filepath.Join(dir, "watcher.yaml"), gossip: freeport.Addr(t), log: &lines{}, hangup: make(chan os.Signal, 1)}
	r.base = fmt.Sprintf("clusterset: prod\ncluster: %s\nsource: {manifests: {dir: manifests}}\ninsecure: true\nstate: state\nhttp: %s\n",
		cluster, freeport.Addr(t))
	r.write(r.base + text + r.gossiping())
	o.Logger, o.Watcher, o.Reload = slog.New(slog.NewTextHandler(r.log, nil)), "w0", r.hangup
	r.options = o
	r.start()

	own, err := trust.Insecure(trust.ID{Clusterset: "prod", Cluster: cluster, Role: trust.Agent})
	require.NoError(t, err)
	r.agent, err = replica.NewSubscriber(replica.SubscriberConfig{Watchers: []string{r.gossip}, Identity: own, Table: discovery.NewTable()})
	require.NoError(t, err)
	r.begin(r.agent.Run)
	r.until("the agent is in step", func() bool { return !r.agent.Stale() && r.agent.View() != nil })
	r.until("the file was read", func() bool { return value(t, r.reloads.total.WithLabelValues("ok")) == 1 })
	r.log.take()
	return r
}

// start runs the watcher, after stop once more.
func (r *running) start() {
	r.t.Helper()
	c, err := config.Load(r.file)
	require.NoError(r.t, err)
	r.Watcher, err = New(c, r.options)
	require.NoError(r.t, err)
	r.stop = r.begin(r.Run)
}

// begin runs something until stop is called, which is so at the test's end.
func (r *running) begin(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	r.t.Cleanup(stop)
	return stop
}

func (r *running) gossiping(join ...string) string {
	return fmt.Sprintf("gossip: {listen: %s, advertise: %s, join: [%s]}\n", r.gossip, r.gossip, strings.Join(join, ", "))
}

// write replaces the file as an editor does that takes care.
func (r *running) write(text string) {
	r.t.Helper()
	require.NoError(r.t, os.WriteFile(r.file+".new", []byte(text), 0o600))
	require.NoError(r.t, os.Rename(r.file+".new", r.file))
}

func (r *running) until(what string, ok func() bool) {
	r.t.Helper()
	require.Eventually(r.t, ok, patience, 5*time.Millisecond, what)
}

// logged waits for lines of the log that hold all texts.
func (r *running) logged(texts ...string) string {
	r.t.Helper()
	all := ""
	r.until(fmt.Sprint("the log has ", texts), func() bool {
		all += r.log.take()
		for _, text := range texts {
			if !strings.Contains(all, text) {
				return false
			}
		}
		return true
	})
	return all
}

// knows is a cluster's record as the agent has it, nil if it has none.
func (r *running) knows(cluster string) *discovery.Cluster {
	for _, c := range r.agent.Table().Clusters() {
		if c.Cluster.Name == cluster {
			return c.Cluster
		}
	}
	return nil
}

// value is a counter's or a gauge's.
func value(t *testing.T, metric prometheus.Metric) float64 {
	t.Helper()
	var m dto.Metric
	require.NoError(t, metric.Write(&m))
	return m.GetCounter().GetValue() + m.GetGauge().GetValue()
}

func (r *running) routing() locality.Routing {
	policy, err := locality.DecodeRouting(r.agent.View().Routing)
	require.NoError(r.t, err)
	return policy
}

func (r *running) status() api.Config { return shown{r.Watcher}.Config() }

// TestReloadOfRouting: agents have the policy, the one of the start and each
// that follows, and none that is broken.
func TestReloadOfRouting(t *testing.T) {
	r := live(t, "west", "routing: {order: latency}\n")
	require.Equal(t, locality.Routing{Rules: locality.Rules{Order: locality.OrderLatency}}, r.routing())
	require.Equal(t, "order latency", r.status().Routing)

	r.write(r.base + r.gossiping() + "routing:\n  affinity: client\n  services: [{match: shop/*, failover: []}]\n")
	r.until("the agent has it", func() bool { return r.routing().Affinity == locality.AffinityClient })
	require.Empty(t, r.routing().Order)
	require.Equal(t, []locality.Failover{}, r.routing().Services[0].Failover, "none, where nil would be those of all")
	r.logged(`msg="configuration reloaded"`, "changed=routing")
	require.Equal(t, "affinity client, services (1)", r.status().Routing)

	before := r.agent.View()
	r.write(r.base + r.gossiping() + "routing: {order: latncy}\nhealth: {interval: 0s}\n")
	r.logged("configuration not taken, the one before stays in force",
		`watcher.yaml:8: routing.order: unknown value \"latncy\": did you mean \"latency\"?`, "watcher.yaml:9: health.interval: want a time like 5s")
	require.Same(t, before, r.agent.View())
	require.Zero(t, value(t, r.reloads.successful))
	require.Equal(t, 1.0, value(t, r.reloads.total.WithLabelValues("error")))
	require.Len(t, r.status().Errors, 2)
	require.Equal(t, "affinity client, services (1)", r.status().Routing)

	r.write(r.base + r.gossiping())
	r.until("the agent has the default", func() bool { return r.agent.View().Routing == "" })
	r.logged("changed=routing")
	require.Equal(t, 1.0, value(t, r.reloads.successful))
	require.Empty(t, r.status().Errors)
	require.Equal(t, "default", r.status().Routing)
}

// TestReloadOfAllElse: each field that can change does, beside others that
// can't and are named.
func TestReloadOfAllElse(t *testing.T) {
	r := live(t, "west", "gateways: [{addresses: [192.0.2.1]}]\nlocality: a\n")
	east := live(t, "east", "")
	own := func() *discovery.Cluster { return r.knows("west") }
	r.until("the own part is there", func() bool { return own() != nil })
	require.Equal(t, "192.0.2.1", own().GatewaySets[0].Gateways[0].Addresses[0].String())
	require.Len(t, r.pool.Members(), 1)
	require.Equal(t, probe.DefaultHealth(), r.gateways.health())

	started := r.config
	r.write(strings.ReplaceAll(r.base, started.HTTP, "127.0.0.1:1") + "network: n\nlocality: b\nforget: 48h\n" +
		"gateways: [{addresses: [192.0.2.2]}]\nhealth: {interval: 7s}\nimport: {clusters: {deny: [north]}}\n" + r.gossiping(east.gossip))
	r.logged("configuration reloaded", `changed="locality, gateways, gossip.join, import, health"`,
		"configuration needs a restart", `fields="network, forget, http"`)
	require.Equal(t, 7*time.Second, r.gateways.health().Interval)
	require.Equal(t, 7*time.Second, r.external.Health().Interval)
	r.until("agents have the gateway", func() bool {
		return own().GatewaySets[0].Gateways[0].Addresses[0] == netip.MustParseAddr("192.0.2.2")
	})
	require.Equal(t, "b", own().Locality.Region)
	require.Empty(t, own().Network)
	r.until("agents see from there", func() bool { return r.agent.View().Locality.Region == "b" })
	r.until("east was joined", met(r.Watcher))
	r.until("east is known", func() bool { return r.knows("east") != nil })
	require.Equal(t, []string{"network", "forget", "http"}, r.status().Restart)
	require.Equal(t, 3.0, value(t, r.reloads.restart))
	require.Equal(t, "every 7s, timeout 2s, down after 3, up after 2", r.status().Health)

	// What needed a restart is as it was, so nothing is left to say; and import
	// rules work at once.
	r.write(r.base + "locality: b\ngateways: [{addresses: [192.0.2.2]}]\nhealth: {interval: 7s}\n" +
		"import: {clusters: {deny: [east]}}\n" + r.gossiping(east.gossip))
	r.until("east is denied", func() bool { return r.knows("east") == nil })
	r.logged("changed=import")
	require.Empty(t, r.status().Restart)
	require.Zero(t, value(t, r.reloads.restart))
}

// TestReloadNeverLosesTheRecord: one that can't be published is refused whole,
// at the start, by check and later.
func TestReloadNeverLosesTheRecord(t *testing.T) {
	r := live(t, "west", "gateways: [{addresses: [192.0.2.1]}]\n")
	own := func() *discovery.Cluster { return r.knows("west") }
	r.until("the own part is there", func() bool { return own() != nil })
	var many strings.Builder
	many.WriteString("routing: {order: latency}\ngateways:\n")
	for range discovery.MaxGateways {
		many.WriteString("  - {addresses: [" + strings.Repeat(`"2001:db8::1", `, discovery.MaxAddresses) + "]}\n")
	}
	r.write(r.base + r.gossiping() + many.String())
	r.logged("watcher.yaml:9: gateways: the cluster's record takes ", " octets, at most 16384 are allowed: name fewer gateways or addresses")
	require.Empty(t, r.agent.View().Routing)
	require.Equal(t, "192.0.2.1", own().GatewaySets[0].Gateways[0].Addresses[0].String())

	c, err := config.Load(r.file)
	require.NoError(t, err)
	require.ErrorContains(t, Check(c), "watcher.yaml:9: gateways: the cluster's record takes ")
	_, err = New(c, Options{Logger: slog.New(slog.DiscardHandler)})
	require.ErrorContains(t, err, "watcher.yaml:9: gateways: the cluster's record takes ")
}

// TestReloadOfAnotherFile: what is no configuration at all fills no log.
func TestReloadOfAnotherFile(t *testing.T) {
	r := live(t, "west", "")
	r.write(strings.Repeat("a: 1\n", 1000))
	r.logged("watcher.yaml: has 90 more mistakes: see `isthmus check`")
	require.Len(t, r.status().Errors, maxLines+1)
}

// TestReloadOfAMissingFile: it may come back.
func TestReloadOfAMissingFile(t *testing.T) {
	r := live(t, "west", "routing: {order: latency}\n")
	require.NoError(t, os.Remove(r.file))
	r.logged("watcher.yaml: cannot be read: no such file or directory")
	require.Equal(t, locality.OrderLatency, r.routing().Order)
	r.write(r.base + r.gossiping() + "routing: {affinity: client}\n")
	r.until("the agent has it", func() bool { return r.routing().Affinity == locality.AffinityClient })
}

// TestReloadWhenAsked says that it was done though nothing has changed.
func TestReloadWhenAsked(t *testing.T) {
	r := live(t, "west", "")
	view := r.agent.View()
	r.hangup <- syscall.SIGHUP
	r.logged("configuration reloaded", `changed=""`)
	require.Same(t, view, r.agent.View())

	r.write("nonsense")
	r.logged("watcher.yaml:1: want fields")
	r.hangup <- syscall.SIGHUP
	r.logged("watcher.yaml:1: want fields")
	require.Equal(t, 2.0, value(t, r.reloads.total.WithLabelValues("error")))
}

// TestJoinWaitsForAnAddress: others answer to the address that a watcher
// advertises, so it joins nobody new while that is about to be another one.
func TestJoinWaitsForAnAddress(t *testing.T) {
	r := live(t, "west", "")
	r.write(r.base + strings.Replace(r.gossiping("192.0.2.99"), "advertise: ", "advertise: 192.0.2.1:1, siblings: [\"192.0.2.2\"], x: ", 1))
	r.logged(`unknown field \"x\" in gossip`)
	r.write(r.base + fmt.Sprintf("gossip: {listen: %s, advertise: 192.0.2.1:1, join: [192.0.2.99]}\n", r.gossip))
	r.logged("configuration needs a restart", `fields="gossip.advertise, gossip.join"`)
	require.Empty(t, r.live.Load().Gossip.Join)
}
