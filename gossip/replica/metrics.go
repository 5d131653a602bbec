package replica

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-dns/isthmus/discovery"
)

type metrics struct {
	announcements *prometheus.CounterVec // by outcome
	refused       *prometheus.CounterVec // by reason
	pulls         *prometheus.CounterVec // by result
	published     prometheus.Counter
	held          prometheus.Gauge
	streams       prometheus.Gauge
	dropped       *prometheus.CounterVec // by reason
	frozen        prometheus.Gauge
}

func newMetrics(r prometheus.Registerer, table *discovery.Table) *metrics {
	m := &metrics{
		announcements: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_replica_announcements_total",
			Help: "Announcements of other watchers, by what they did.",
		}, []string{"outcome"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_replica_refused_total",
			Help: "Heads, messages and records that were refused, by reason.",
		}, []string{"reason"}),
		pulls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_replica_pulls_total",
			Help: "Pulls of a cluster's part from a peer, by result.",
		}, []string{"result"}),
		published: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "isthmus_replica_published_total",
			Help: "Versions of the own cluster's part that were published.",
		}),
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "isthmus_publisher_held_removals",
			Help: "Services that most of the source's others went away with: held until the source confirms it.",
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_replica_dropped_total",
			Help: "Clusters that were dropped because they were silent for too long or their root was removed, by reason.",
		}, []string{"reason"}),
		frozen: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "isthmus_replica_frozen",
			Help: "1 while most other clusters are silent since the same time, so that we are cut off and forget none.",
		}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "isthmus_replica_agents",
			Help: "Agents that stream the table from this watcher now.",
		}),
	}
	for _, reason := range alarms { // from the start, so that a first one is an increase
		m.refused.WithLabelValues(reason)
	}
	for _, reason := range []string{"silent", "root"} {
		m.dropped.WithLabelValues(reason)
	}
	if r != nil {
		r.MustRegister(m.announcements, m.refused, m.pulls, m.published, m.held, m.streams, m.dropped, m.frozen,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "isthmus_table_clusters", Help: "Clusters in the table.",
			}, func() float64 { return float64(len(table.Clusters())) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "isthmus_table_services", Help: "Records of services in the table, all clusters together.",
			}, func() float64 {
				n := 0
				for _, c := range table.Clusters() {
					n += c.Services
				}
				return float64(n)
			}))
	}
	return m
}

// unknownOutcome is the label of messages of a kind that this version lacks.
const unknownOutcome = "unknown"

// String is the outcome as a metric label.
func (o outcome) String() string {
	return [...]string{"old", "heartbeat", "applied", "gap"}[o]
}
