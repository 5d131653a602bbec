package isthmus

import (
	"slices"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// outlookCollector tells what agents know of clusters and their gateways. With
// several links it tells sums. Which cluster it is, the watcher's metrics say:
// here each of 1,000 nodes would have series for each of 500 clusters.
type outlookCollector struct{ registry *registry }

var (
	freshnessDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "clusters"),
		"Other clusters, by whether they were heard of lately: fresh, silent, or frozen where most turned silent together.", []string{"freshness"}, nil)
	gatewaysDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "gateway_addresses"),
		"Addresses of other clusters' gateways of which checks found out whether they are up, by state: up or down.", []string{"state"}, nil)
	rttDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "gateway_rtt_seconds"),
		"Round-trip time to the gateways of other clusters: of the nearest, the median and the farthest cluster.", []string{"distance"}, nil)
)

// Describe implements prometheus.Collector.
func (*outlookCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- freshnessDesc
	ch <- gatewaysDesc
	ch <- rttDesc
}

// Collect implements prometheus.Collector.
func (c *outlookCollector) Collect(ch chan<- prometheus.Metric) {
	var freshness [3]float64
	var up, down float64
	var times []time.Duration
	for _, s := range c.registry.heldLinks() {
		view := s.View()
		if view == nil || s.outlook == nil {
			continue
		}
		f := s.outlook.facts(view)
		for _, state := range s.Table().Clusters() {
			if state.Cluster.Name != view.Cluster {
				freshness[f.freshness[state.Cluster.Name]]++
			}
		}
		for _, states := range s.Gateways().All() {
			var nearest time.Duration
			for _, state := range states {
				if !state.Up { // agents aren't told of those that are unknown
					down++
					continue
				}
				up++
				if state.RTT > 0 && (nearest == 0 || state.RTT < nearest) {
					nearest = state.RTT
				}
			}
			if nearest > 0 {
				times = append(times, nearest)
			}
		}
	}
	gauge := func(desc *prometheus.Desc, value float64, label string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, label)
	}
	for state, n := range freshness {
		gauge(freshnessDesc, n, locality.Freshness(state).String())
	}
	gauge(gatewaysDesc, up, locality.GatewayUp.String())
	gauge(gatewaysDesc, down, locality.GatewayDown.String())
	if slices.Sort(times); len(times) > 0 {
		gauge(rttDesc, times[0].Seconds(), "nearest")
		gauge(rttDesc, times[len(times)/2].Seconds(), "median")
		gauge(rttDesc, times[len(times)-1].Seconds(), "farthest")
	}
}
