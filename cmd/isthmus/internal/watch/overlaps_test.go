package watch

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

// overlapWorld is a table whose clusters' records a test changes.
type overlapWorld struct {
	*overlaps
	metrics *prometheus.Registry
	text    bytes.Buffer
	seq     uint64
}

func newOverlapWorld() *overlapWorld {
	w := &overlapWorld{metrics: prometheus.NewRegistry()}
	drop := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	w.overlaps = newOverlaps(discovery.NewTable(), w.metrics, slog.New(slog.NewTextHandler(&w.text, &slog.HandlerOptions{ReplaceAttr: drop})))
	return w
}

// claim has a cluster say which network and Pods it has.
func (w *overlapWorld) claim(name, network string, pods ...string) {
	c := &discovery.Cluster{Name: name, UID: name, Network: network}
	for _, p := range pods {
		c.PodCIDRs = append(c.PodCIDRs, netip.MustParsePrefix(p))
	}
	w.seq++
	w.table.Apply(name, discovery.Update{Cluster: c}, discovery.Version{Epoch: 1, Seq: w.seq})
}

// metric is what Prometheus is told.
func (w *overlapWorld) metric(t *testing.T) int {
	t.Helper()
	families, err := w.metrics.Gather()
	require.NoError(t, err)
	require.Len(t, families, 1)
	require.Equal(t, "isthmus_network_overlaps", families[0].GetName())
	require.Len(t, families[0].GetMetric(), 1)
	return int(families[0].GetMetric()[0].GetGauge().GetValue())
}

// lines are what was logged since the last call.
func (w *overlapWorld) lines() []string {
	defer w.text.Reset()
	return strings.Split(strings.TrimSuffix(w.text.String(), "\n"), "\n")
}

const (
	begins = `level=WARN msg="clusters of one network use the same addresses, names may lead to wrong Pods: give them different networks in watcher.yaml, or none" `
	ends   = `level=INFO msg="clusters of one network use the same addresses no more" `
	pair   = `network=vpc one="east (Pods 10.1.0.0/16)" other="west (Pods 10.1.4.0/24)"`
)

// TestOverlapsAreToldOnce: when they begin and when they end, and not each time
// that a record changes.
func TestOverlapsAreToldOnce(t *testing.T) {
	w := newOverlapWorld()
	steps := []struct {
		name string
		do   func()
		want string // logged
		now  int
	}{
		{"one cluster", func() { w.claim("east", "vpc", "10.1.0.0/16") }, "", 0},
		{"apart", func() { w.claim("west", "vpc", "10.2.0.0/24") }, "", 0},
		{"over each other", func() { w.claim("west", "vpc", "10.2.0.0/24", "10.1.4.0/24") }, begins + pair, 1},
		{"another part of it", func() { w.claim("west", "vpc", "10.1.3.0/24", "10.1.4.0/24") }, "", 1},
		{"a third one elsewhere", func() { w.claim("north", "other", "10.1.0.0/16") }, "", 1},
		{"another network", func() { w.claim("west", "other-vpc", "10.1.4.0/24") }, ends + pair, 0},
		{"and back", func() { w.claim("west", "vpc", "10.1.4.0/24") }, begins + pair, 1},
		{"gone", func() { w.table.Drop("west") }, ends + pair, 0},
	}
	for _, step := range steps {
		step.do()
		require.True(t, w.look(), step.name)
		require.Equal(t, []string{step.want}, w.lines(), step.name)
		require.Equal(t, step.now, w.now.Load().Pairs, step.name)
		require.Equal(t, step.now, w.metric(t), step.name)
	}
	w.table.Apply("east", discovery.Update{}, discovery.Version{Epoch: 1, Seq: 99})
	require.False(t, w.look(), "no record has changed")
}

// TestManyOverlapsAreBounded: where all have the installer's default, the log
// and the memory are not for all pairs, and none is said to end that does not.
func TestManyOverlapsAreBounded(t *testing.T) {
	const clusters = 40
	w := newOverlapWorld()
	for i := range clusters {
		w.claim(fmt.Sprintf("c%02d", i), "vpc", "10.244.0.0/16")
	}
	w.look()
	pairs := clusters * (clusters - 1) / 2
	require.Equal(t, pairs, w.now.Load().Pairs)
	require.Equal(t, pairs, w.metric(t))
	require.Len(t, w.now.Load().Listed, maxOverlaps)
	require.Len(t, w.told, maxOverlaps)
	lines := w.lines()
	require.Len(t, lines, maxOverlapLines+1)
	require.Equal(t, fmt.Sprintf("level=WARN msg=\"more clusters of one network use the same addresses: see `isthmus status`\" pairs=%d all=%d", maxOverlaps-maxOverlapLines, pairs), lines[maxOverlapLines])

	// Others take the places in the list; nothing has ended.
	w.claim("a", "vpc", "10.0.0.0/8")
	w.look()
	require.Equal(t, []string{""}, w.lines())
	require.Len(t, w.told, maxOverlaps)

	for i := range clusters {
		w.claim(fmt.Sprintf("c%02d", i), fmt.Sprint("vpc-", i), "10.244.0.0/16")
	}
	w.look()
	lines = w.lines()
	require.Len(t, lines, maxOverlapLines+1)
	require.Equal(t, fmt.Sprintf(`level=INFO msg="more clusters of one network use the same addresses no more" pairs=%d left=0`, maxOverlaps-maxOverlapLines), lines[maxOverlapLines])
	require.Empty(t, w.told)
}

// TestOverlapsAreLookedForInTime: at once, and from then on not more often than
// compareEvery, however often records change.
func TestOverlapsAreLookedForInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newOverlapWorld()
		w.claim("east", "vpc", "10.1.0.0/16")
		w.claim("west", "vpc", "10.1.4.0/24")
		go func() { _ = w.run(t.Context()) }()
		synctest.Wait()
		require.Equal(t, 1, w.now.Load().Pairs)
		w.claim("west", "", "10.1.4.0/24")
		time.Sleep(compareEvery - time.Millisecond)
		synctest.Wait()
		require.Equal(t, 1, w.now.Load().Pairs)
		time.Sleep(lookEvery + time.Millisecond)
		synctest.Wait()
		require.Zero(t, w.now.Load().Pairs)
	})
}
