package manifest

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics may be nil: then nothing is counted.
type metrics struct {
	fileGauge *prometheus.GaugeVec
	reloads   *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	if registerer == nil {
		return nil, nil
	}
	m := &metrics{
		fileGauge: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "isthmus_manifest_files",
			Help: "Manifest files by state: good, or broken with the last good state in force.",
		}, []string{"state"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_manifest_reloads_total",
			Help: "Changes of manifest files by result: ok, error, or removed.",
		}, []string{"result"}),
	}
	for _, c := range []prometheus.Collector{m.fileGauge, m.reloads} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("manifest metrics: %w", err)
		}
	}
	for _, result := range []string{"ok", "error", "removed"} {
		m.reloads.WithLabelValues(result) // so that a rate is 0, not absent
	}
	m.files(0, 0)
	return m, nil
}

func (m *metrics) files(good, broken int) {
	if m == nil {
		return
	}
	m.fileGauge.WithLabelValues("good").Set(float64(good))
	m.fileGauge.WithLabelValues("broken").Set(float64(broken))
}

func (m *metrics) reload(result string) {
	if m != nil {
		m.reloads.WithLabelValues(result).Inc()
	}
}
