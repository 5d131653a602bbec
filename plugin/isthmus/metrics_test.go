package isthmus

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip/replica"
)

func TestMetrics(t *testing.T) {
	o := replaceOpen(t)
	l := newLink(demoTable(t))
	l.stale.Store(true)
	o.link = func(linkConfig) *fakeLink { return l }
	r := newRegistry(linger)
	s, err := r.prepare(linkConfig{})
	require.NoError(t, err)
	reg := prometheus.NewPedanticRegistry()
	p := newPlugin(l)
	p.metrics = newMetrics(reg, r)
	for _, q := range []*dns.Msg{
		question("user-service.production.global.", dns.TypeA),
		question("payment-service.production.global.", dns.TypeA),
		question("payment-service.production.global.", dns.TypeA),
		question("east.payment-service.production.global.", dns.TypeA),
		question("payment-service.production.global.", dns.TypeMX),
		question("x.y.global.", dns.TypeA),
		question("global.", dns.TypeAXFR),
		new(dns.Msg),
	} {
		ask(t, p, q)
	}
	want := func(others, tables string) string {
		return `# HELP coredns_isthmus_answers_total Address answers, by the tier of the cluster that was chosen and the rule that chose it.
# TYPE coredns_isthmus_answers_total counter
` + answersTotal(map[string]int{"nearest other": 2, "nearest own": 1, "named other": 1}) +
			`# HELP coredns_isthmus_clusters Other clusters, by whether they were heard of lately: fresh, silent, or frozen where most turned silent together.
# TYPE coredns_isthmus_clusters gauge
coredns_isthmus_clusters{freshness="fresh"} ` + others + `
coredns_isthmus_clusters{freshness="frozen"} 0
coredns_isthmus_clusters{freshness="silent"} 0
# HELP coredns_isthmus_gateway_addresses Addresses of other clusters' gateways of which checks found out whether they are up, by state: up or down.
# TYPE coredns_isthmus_gateway_addresses gauge
coredns_isthmus_gateway_addresses{state="down"} 0
coredns_isthmus_gateway_addresses{state="up"} 0
# HELP coredns_isthmus_requests_total Queries for names in the plugin's zones, by result.
# TYPE coredns_isthmus_requests_total counter
coredns_isthmus_requests_total{result="answer"} 4
coredns_isthmus_requests_total{result="fallthrough"} 0
coredns_isthmus_requests_total{result="formerr"} 1
coredns_isthmus_requests_total{result="nodata"} 1
coredns_isthmus_requests_total{result="nxdomain"} 1
coredns_isthmus_requests_total{result="refused"} 1
coredns_isthmus_requests_total{result="servfail"} 0
` + tables
	}
	tables := func(stale, clusters, services string) string {
		return `# HELP coredns_isthmus_stale 1 while no watcher is connected and answers come from what was last known.
# TYPE coredns_isthmus_stale gauge
coredns_isthmus_stale ` + stale + `
# HELP coredns_isthmus_table_clusters Clusters in the table.
# TYPE coredns_isthmus_table_clusters gauge
coredns_isthmus_table_clusters ` + clusters + `
# HELP coredns_isthmus_table_services Service records in the table, summed over clusters.
# TYPE coredns_isthmus_table_services gauge
coredns_isthmus_table_services ` + services + `
`
	}
	require.Equal(t, want("0", tables("0", "0", "0")), exposition(t, reg), "nobody holds the link")
	h, err := r.acquire(s)
	require.NoError(t, err)
	require.Equal(t, want("2", tables("1", "3", "8")), exposition(t, reg))
	r.release(h)
	require.NoError(t, r.closeIdle(t.Context()))
}

// answersTotal are the lines of all counters of answers, most of them 0.
func answersTotal(n map[string]int) string {
	reasons := map[string][]string{
		"distribute": {"distribute"}, "last_resort": {"distribute"}, "named": {"distribute", "own"},
		"nearest": {"own"}, "panic": {"distribute"}, "spill": {"own"},
	}
	var b strings.Builder
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		tiers := reasons[reason]
		if reason != "distribute" {
			tiers = append(tiers, "failover", "latency", "other", "region", "subzone", "zone")
		}
		slices.Sort(tiers)
		for _, tier := range tiers {
			fmt.Fprintf(&b, "coredns_isthmus_answers_total{reason=%q,tier=%q} %d\n", reason, tier, n[reason+" "+tier])
		}
	}
	return b.String()
}

// exposition is what a scrape of the registry returns.
func exposition(t *testing.T, reg prometheus.Gatherer) string {
	families, err := reg.Gather()
	require.NoError(t, err)
	var b strings.Builder
	for _, f := range families {
		_, err := expfmt.MetricFamilyToText(&b, f)
		require.NoError(t, err)
	}
	return b.String()
}

// counting is a link with a tally.
type counting struct {
	*fakeLink
	tally replica.Tally
}

func (c counting) Tally() replica.Tally { return c.tally }

func TestTalliesAreAddedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		r := newRegistry(linger)
		newMetrics(reg, r)
		for i, refused := range []uint64{2, 3} {
			l := counting{newLink(demoTable(t)), replica.Tally{
				Refused: map[string]uint64{"quota": refused}, Pulls: map[string]uint64{"applied": 1},
				Heard: time.Now().Add(-time.Duration(i) * time.Minute),
			}}
			s := &sharedLink{link: l, holders: map[*holder]struct{}{{}: {}}}
			r.links[linkConfig{node: fmt.Sprint(i)}] = s
		}
		got := exposition(t, reg)
		for _, line := range []string{
			`coredns_isthmus_refused_total{reason="quota"} 5`, `coredns_isthmus_pulls_total{result="applied"} 2`, `coredns_isthmus_table_age_seconds 60`,
		} {
			require.Contains(t, got, line+"\n")
		}
	})
}
