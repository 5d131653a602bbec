package external

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-dns/isthmus/discovery/probe"
)

// collector reads the states when asked. There is no label that grows with
// services or addresses.
type collector struct {
	checker             *Checker
	services, endpoints *prometheus.Desc
}

func newCollector(c *Checker) *collector {
	name := func(name string) string { return prometheus.BuildFQName("isthmus", "external", name) }
	return &collector{
		checker:  c,
		services: prometheus.NewDesc(name("services"), "Exported services whose endpoints are to be checked by annotation.", nil, nil),
		endpoints: prometheus.NewDesc(name("endpoints"),
			"Endpoints of these services by state: up, down, unknown, or unchecked where that may not be or is beyond a limit. Where this watcher doesn't lead, all are unknown.",
			[]string{"state"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.services
	ch <- c.endpoints
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	services, states := c.checker.count()
	ch <- prometheus.MustNewConstMetric(c.services, prometheus.GaugeValue, float64(services))
	for state, n := range states {
		ch <- prometheus.MustNewConstMetric(c.endpoints, prometheus.GaugeValue, float64(n), state)
	}
}

// count is how many services there are, and endpoints in each state.
func (c *Checker) count() (services int, states map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	const unchecked = "unchecked"
	states = map[string]int{probe.Up.String(): 0, probe.Down.String(): 0, probe.Unknown.String(): 0, unchecked: 0}
	found := c.prober.Snapshot()
	for _, s := range c.services {
		for _, t := range s.targets {
			if t.Port == 0 {
				states[unchecked]++
				continue
			}
			states[found.State(t).Status.String()]++
		}
	}
	left := min(c.leftOut, states[probe.Unknown.String()]) // it is of the last aim
	states[unchecked] += left
	states[probe.Unknown.String()] -= left
	return len(c.services), states
}
