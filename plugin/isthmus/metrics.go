package isthmus

import (
	"sync"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-dns/isthmus/gossip/replica"
)

// result is how a query ended.
type result uint8

const (
	resultAnswer result = iota
	resultNoData
	resultNXDomain
	resultServFail
	resultRefused
	resultFormErr
	resultFallthrough
	resultCount
)

var resultNames = [resultCount]string{"answer", "nodata", "nxdomain", "servfail", "refused", "formerr", "fallthrough"}

// metrics are counters that all stanzas share, with their labels resolved
// beforehand: a query only increments.
type metrics struct {
	requests [resultCount]prometheus.Counter
	answers  choiceCounters
}

// defaultMetrics are those of CoreDNS's own registry. They are made at the
// first stanza, so that a program that only links the plugin shows none.
var defaultMetrics = sync.OnceValue(func() *metrics { return newMetrics(prometheus.DefaultRegisterer, links) })

func newMetrics(reg prometheus.Registerer, r *registry) *metrics {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "requests_total",
		Help:      "Queries for names in the plugin's zones, by result.",
	}, []string{"result"})
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "answers_total",
		Help:      "Address answers, by the tier of the cluster that was chosen and the rule that chose it.",
	}, []string{"tier", "reason"})
	reg.MustRegister(requests, answers, &tableCollector{registry: r}, &outlookCollector{registry: r})
	m := &metrics{answers: newChoiceCounters(answers)}
	for i, name := range resultNames {
		m.requests[i] = requests.WithLabelValues(name)
	}
	return m
}

// tableCollector reads the tables' sizes when asked. With several links, which
// is rare, it tells sums, and stale when any is: a label would have to be the
// watchers' addresses.
type tableCollector struct{ registry *registry }

var (
	clustersDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "table_clusters"),
		"Clusters in the table.", nil, nil)
	servicesDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "table_services"),
		"Service records in the table, summed over clusters.", nil, nil)
	refusedDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "refused_total"),
		"Heads, messages and records of the table that were refused, by reason.", []string{"reason"}, nil)
	pullsDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "pulls_total"),
		"Pulls of a cluster's part from a watcher, by result.", []string{"result"}, nil)
	ageDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "table_age_seconds"),
		"Time since a watcher was last heard of, or since the copy on disk was written; the greatest of all tables.", nil, nil)
	staleDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "stale"),
		"1 while no watcher is connected and answers come from what was last known.", nil, nil)
)

// tallied is a link that counts what it refuses and pulls.
type tallied interface{ Tally() replica.Tally }

// Describe implements prometheus.Collector.
func (*tableCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- refusedDesc
	ch <- pullsDesc
	ch <- ageDesc
	ch <- clustersDesc
	ch <- servicesDesc
	ch <- staleDesc
}

// Collect implements prometheus.Collector.
func (c *tableCollector) Collect(ch chan<- prometheus.Metric) {
	c.collectTallies(ch)
	var clusters, services, stale float64
	for _, l := range c.registry.held() {
		for _, state := range l.Table().Clusters() {
			clusters++
			services += float64(state.Services)
		}
		if l.Stale() {
			stale = 1
		}
	}
	ch <- prometheus.MustNewConstMetric(clustersDesc, prometheus.GaugeValue, clusters)
	ch <- prometheus.MustNewConstMetric(servicesDesc, prometheus.GaugeValue, services)
	ch <- prometheus.MustNewConstMetric(staleDesc, prometheus.GaugeValue, stale)
}

// collectTallies sends what the links have counted. A sum goes back when a link
// ends, as a counter does when its process restarts.
func (c *tableCollector) collectTallies(ch chan<- prometheus.Metric) {
	refused, pulls := map[string]uint64{}, map[string]uint64{}
	age, heard := time.Duration(0), false
	for _, l := range c.registry.held() {
		counts, ok := l.(tallied)
		if !ok {
			continue
		}
		t := counts.Tally()
		for reason, n := range t.Refused {
			refused[reason] += n
		}
		for result, n := range t.Pulls {
			pulls[result] += n
		}
		if !t.Heard.IsZero() {
			age, heard = max(age, time.Since(t.Heard)), true
		}
	}
	for reason, n := range refused {
		ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(n), reason)
	}
	for result, n := range pulls {
		ch <- prometheus.MustNewConstMetric(pullsDesc, prometheus.CounterValue, float64(n), result)
	}
	if heard {
		ch <- prometheus.MustNewConstMetric(ageDesc, prometheus.GaugeValue, age.Seconds())
	}
}

// held lists the links that a stanza uses.
func (r *registry) held() []link {
	var held []link
	for _, s := range r.heldLinks() {
		held = append(held, s.link)
	}
	return held
}

func (r *registry) heldLinks() []*sharedLink {
	r.mu.Lock()
	defer r.mu.Unlock()
	var held []*sharedLink
	for _, s := range r.links {
		if len(s.holders) > 0 {
			held = append(held, s)
		}
	}
	return held
}
