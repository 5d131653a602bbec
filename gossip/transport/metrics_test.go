package transport

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// TestAlarmsFromTheStart: what operators alert on by increase is there before
// the first one.
func TestAlarmsFromTheStart(t *testing.T) {
	r := prometheus.NewRegistry()
	require.NoError(t, newMetrics().register(r))
	families, err := r.Gather()
	require.NoError(t, err)
	reasons := map[string][]string{}
	for _, f := range families {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if l.GetName() == "reason" {
					reasons[f.GetName()] = append(reasons[f.GetName()], l.GetValue())
				}
			}
		}
	}
	require.Equal(t, map[string][]string{
		"isthmus_transport_refused_total": {"flood"},
		"isthmus_transport_cut_total":     {"flood", "untrusted"},
	}, reasons)
}
