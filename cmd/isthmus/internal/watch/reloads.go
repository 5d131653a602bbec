package watch

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// reloads says how it went with the configuration file: to Prometheus in the
// way of Prometheus's own metrics, and to people.
type reloads struct {
	successful prometheus.Gauge
	at         prometheus.Gauge
	restart    prometheus.Gauge
	total      *prometheus.CounterVec

	mu  sync.Mutex
	now reloaded // guarded by mu
}

// reloaded is how it went last. Immutable.
type reloaded struct {
	at     time.Time // when what is in force was read
	wrong  []string  // why the file as it is now is not, a line a mistake
	fields []string  // that differ from what is in force until a restart
}

func newReloads(r prometheus.Registerer) *reloads {
	m := &reloads{
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "isthmus_config_last_reload_successful",
			Help: "1 if watcher.yaml as it is now is in force, as far as it can be without a restart; 0 if it is broken and an earlier one is.",
		}),
		at: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "isthmus_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration in force was read.",
		}),
		restart: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "isthmus_config_restart_fields",
			Help: "Fields of watcher.yaml that differ from what is in force until the watcher is restarted.",
		}),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_config_reloads_total",
			Help: "Times that watcher.yaml was read, at the start and when it had changed, by outcome: ok or error.",
		}, []string{"outcome"}),
	}
	r.MustRegister(m.successful, m.at, m.restart, m.total)
	for _, outcome := range []string{"ok", "error"} {
		m.total.WithLabelValues(outcome)
	}
	m.read(nil)
	return m
}

// read notes that a configuration was read and is in force but for some fields.
func (m *reloads) read(restart []string) {
	now := time.Now()
	m.successful.Set(1)
	m.at.Set(float64(now.UnixMilli()) / 1000)
	m.restart.Set(float64(len(restart)))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = reloaded{at: now.UTC(), fields: slices.Clone(restart)}
}

func (m *reloads) taken(restart []string) {
	m.total.WithLabelValues("ok").Inc()
	m.read(restart)
}

func (m *reloads) refused(wrong []string) {
	m.successful.Set(0)
	m.total.WithLabelValues("error").Inc()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.wrong = wrong
}

func (m *reloads) last() reloaded {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}
