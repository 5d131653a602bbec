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
	streams       prometheus.Gauge
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
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "isthmus_replica_agents",
			Help: "Agents that stream the table from this watcher now.",
		}),
	}
	if r != nil {
		r.MustRegister(m.announcements, m.refused, m.pulls, m.published, m.streams,
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
