package probe_test

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery/probe"
)

func TestMetrics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		registry := prometheus.NewPedanticRegistry()
		n := newNetwork()
		n.set(at(1), refuse)
		p := start(t, n, probe.Config{Registerer: registry, Resolve: newDNS().resolve})
		second := start(t, n, probe.Config{Registerer: registry, Purpose: "external"})
		second.SetTargets([]probe.Target{target("vms", at(7))})
		var names []probe.Target
		for i := range 35 { // three too many
			names = append(names, named("north", fmt.Sprint("h", i)))
		}
		p.SetTargets(append(names, []probe.Target{
			target("east", at(0)), target("east", at(1)),
			{Cluster: "east", Addr: netip.MustParseAddr("127.0.0.1"), Port: 1},
			{Cluster: "east", Port: 1}, // neither address nor host
			{Cluster: "east", Addr: at(1).Addr().Next(), Port: 1, Host: "evil host"},
		}...))
		time.Sleep(time.Minute)
		text := scrape(t, registry)
		for _, line := range []string{
			`isthmus_probe_targets{cluster="east",purpose="gateway",status="down"} 1`,
			`isthmus_probe_targets{cluster="east",purpose="gateway",status="unknown"} 0`,
			`isthmus_probe_targets{cluster="east",purpose="gateway",status="up"} 1`,
			`isthmus_probe_targets{cluster="vms",purpose="external",status="up"} 1`,
			`isthmus_probe_rtt_seconds{cluster="east",purpose="gateway"} 0.001`,
			`isthmus_probe_changes_total{purpose="gateway",to="down"} 1`,
			`isthmus_probe_changes_total{purpose="gateway",to="up"} 1`,
			`isthmus_probe_changes_total{purpose="external",to="up"} 1`,
			`isthmus_probe_left_out_targets{purpose="gateway",reason="refused"} 5`,
			`isthmus_probe_left_out_targets{purpose="gateway",reason="unfit"} 1`,
			`isthmus_probe_left_out_targets{purpose="gateway",reason="total"} 0`,
		} {
			require.Contains(t, text, line+"\n")
		}
		require.Contains(t, text, `isthmus_probe_in_flight{purpose="gateway"} `) // whether one runs just now is chance
		for check, least := range map[string]int{
			`isthmus_probe_results_total{check="tcp",outcome="good",purpose="gateway"} `:    12,
			`isthmus_probe_results_total{check="tcp",outcome="refused",purpose="gateway"} `: 12,
			`isthmus_probe_connect_seconds_count{purpose="gateway"} `:                       12,
		} {
			_, after, found := strings.Cut(text, check)
			require.True(t, found, check)
			line, _, _ := strings.Cut(after, "\n")
			n, err := strconv.Atoi(line)
			require.NoError(t, err)
			require.GreaterOrEqual(t, n, least)
		}
		_, err := probe.New(probe.Config{Registerer: registry})
		require.Error(t, err, "two of one purpose")
	})
}

func scrape(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	var b strings.Builder
	for _, f := range families {
		_, err := expfmt.MetricFamilyToText(&b, f)
		require.NoError(t, err)
	}
	return b.String()
}
