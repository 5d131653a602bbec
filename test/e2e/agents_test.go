package e2e

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// testAgentsAndAPI: the API server lists and watches as often for 50 nodes'
// agents as for two, while services change. The agents are what `isthmus dns`
// follows its watcher with, without a DNS server before it.
func testAgentsAndAPI(t *testing.T, cs *clusterset) {
	w := cs.east.world(t)
	before := cs.east.reads(t)
	require.NotZero(t, before.watches)
	changes := 0
	for _, agents := range []int{2, 50} {
		tables, stop := cs.east.follow(t, cs.dir, agents)
		for range 10 {
			changes++
			name := fmt.Sprintf("change-%d", changes)
			w.service(name, corev1.ServiceTypeClusterIP)
			w.endpoints(name, fmt.Sprintf("10.1.1.%d", changes))
			w.annotate(name, "true")
			key := discovery.MakeKey(shop, name)
			require.Eventually(t, func() bool {
				return !slices.ContainsFunc(tables, func(table *discovery.Table) bool { return table.Lookup(key) == nil })
			}, patience, 10*time.Millisecond, "%s in the tables of %d agents", name, agents)
		}
		stop()
		after := cs.east.reads(t)
		require.Equal(t, before, after, "%d agents", agents)
		t.Logf("%d agents: %v lists, %v watches", agents, after.lists, after.watches)
	}
}

// follow starts agents of the site.
func (s *site) follow(t *testing.T, dir string, agents int) (tables []*discovery.Table, stop func()) {
	t.Helper()
	files := tlsFiles(s.name, "agent")
	identity, err := trust.Load(trust.Files{
		Cert: filepath.Join(dir, files["cert"]), Key: filepath.Join(dir, files["key"]), CA: filepath.Join(dir, files["ca"]),
	}, clustersetName)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	for n := range agents {
		table := discovery.NewTable()
		agent, err := replica.NewSubscriber(replica.SubscriberConfig{
			Watchers: []string{s.balancer.addr}, Identity: identity, Table: table, Node: fmt.Sprintf("node-%d", n),
		})
		require.NoError(t, err)
		running.Go(func() { _ = agent.Run(ctx) })
		tables = append(tables, table)
	}
	return tables, stop
}

// reads is what clients have asked an API server for: lists in all, and watches
// that last.
type reads struct{ lists, watches float64 }

func (s *site) reads(t *testing.T) (r reads) {
	t.Helper()
	text, err := s.kube.Client().Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	require.NoError(t, err)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	require.NoError(t, err)
	for _, m := range families["apiserver_request_total"].GetMetric() {
		if ours(m, "LIST") {
			r.lists += m.GetCounter().GetValue()
		}
	}
	for _, m := range families["apiserver_longrunning_requests"].GetMetric() {
		if ours(m, "WATCH") {
			r.watches += m.GetGauge().GetValue()
		}
	}
	return r
}

// ours tells whether a metric counts requests for what watchers read.
func ours(m *dto.Metric, verb string) bool {
	var resource, is string
	for _, l := range m.GetLabel() {
		switch l.GetName() {
		case "verb":
			is = l.GetValue()
		case "resource":
			resource = l.GetValue()
		}
	}
	return is == verb && slices.Contains([]string{"services", "endpointslices", "nodes", "serviceexports"}, resource)
}
