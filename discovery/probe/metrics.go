package probe

import (
	"cmp"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-dns/isthmus/discovery"
)

// metrics have no label that grows with services or addresses. Those of
// clusters grow with the clusterset, which has 1,000 clusters at most.
type metrics struct {
	results *prometheus.CounterVec
	changes *prometheus.CounterVec
	connect prometheus.Histogram
}

const (
	namespace = "isthmus"
	subsystem = "probe"
)

var checkNames = map[discovery.Check]string{
	discovery.CheckTCP: "tcp", discovery.CheckTLS: "tls", discovery.CheckHTTP: "http",
}

func newMetrics(r prometheus.Registerer, purpose string, p *Prober) (*metrics, error) {
	labels := prometheus.Labels{"purpose": cmp.Or(purpose, "gateway")}
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help, ConstLabels: labels}
	}
	m := &metrics{
		results: prometheus.NewCounterVec(counter("results_total",
			"Checks that ended, by check and outcome; \"ours\" are those that failed for reasons of this machine and count for nothing."), []string{"check", "outcome"}),
		changes: prometheus.NewCounterVec(counter("changes_total", "Changes of a target's status, by the new one."), []string{"to"}),
		connect: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "connect_seconds", ConstLabels: labels,
			Help: "Time that connecting took, of checks that connected.",
			// From one rack to the other side of the world, and a second more
			// for a first packet that was lost.
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .2, .4, .8, 1.6, 3.2},
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.results, m.changes, m.connect, newCollector(p, labels)} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) count(check discovery.Check, r result) {
	m.results.WithLabelValues(checkNames[check], outcomeNames[r.outcome]).Inc()
	if r.rtt > 0 {
		m.connect.Observe(r.rtt.Seconds())
	}
}

func (m *metrics) change(to Status) { m.changes.WithLabelValues(to.String()).Inc() }

// collector reads the states when asked.
type collector struct {
	prober                           *Prober
	targets, rtt, leftOut, inFlights *prometheus.Desc
}

func newCollector(p *Prober, labels prometheus.Labels) *collector {
	desc := func(name, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, subsystem, name), help, variable, labels)
	}
	return &collector{
		prober:    p,
		targets:   desc("targets", "Addresses and ports that are checked, by cluster and status.", "cluster", "status"),
		rtt:       desc("rtt_seconds", "Smoothed round-trip time to a cluster's nearest address that is up.", "cluster"),
		leftOut:   desc("left_out_targets", "Targets that are not checked: invalid or beyond a cluster's limit, unfit to be connected to, or beyond the limit of all.", "reason"),
		inFlights: desc("in_flight", "Checks and lookups that run now."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.targets
	ch <- c.rtt
	ch <- c.leftOut
	ch <- c.inFlights
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for cluster, results := range c.prober.Snapshot().All() {
		var counts [statuses]int
		var nearest RTT
		for _, r := range results {
			counts[r.Status]++
			if s := r.RTT.Smoothed; r.Status == Up && s > 0 && (nearest.Smoothed == 0 || s < nearest.Smoothed) {
				nearest = r.RTT
			}
		}
		for s, n := range counts {
			gauge(c.targets, float64(n), cluster, Status(s).String())
		}
		if nearest.Smoothed > 0 {
			gauge(c.rtt, nearest.Smoothed.Seconds(), cluster)
		}
	}
	out := c.prober.leftOut()
	gauge(c.leftOut, float64(out.refused), "refused")
	gauge(c.leftOut, float64(out.unfit), "unfit")
	gauge(c.leftOut, float64(out.total), "total")
	gauge(c.inFlights, float64(out.inFlight))
}

// omissions are what leftOut counts.
type omissions struct{ refused, unfit, total, inFlight int }

func (p *Prober) leftOut() omissions {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := omissions{inFlight: p.inFlight}
	for _, g := range p.groups {
		out.refused += g.refused + g.beyond
		out.unfit += g.unfit
		out.total += len(g.expanded) - len(g.probes)
	}
	return out
}
