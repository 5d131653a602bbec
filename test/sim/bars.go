package sim

import "time"

// The bars. They hold for up to barClusters clusters.
const (
	barClusters = 100
	barOctets   = 30_000 // sent a second by a watcher on average, headers included

	barWithoutLoss = 1500 * time.Millisecond
	barWithLoss    = 15 * time.Second
	barLoss        = 0.1 // up to this loss
)

// Missed names the bars that a result does not meet. Of the two ways to count
// convergence the bars take the harder one: 99 of 100 changes are shown by the
// last watcher in that time.
func (r *Result) Missed() []string {
	var out []string
	if r.Never > 0 {
		out = append(out, "lost")
	}
	if r.Clusters > barClusters {
		return out
	}
	last := Quantile(r.Last, 0.99)
	if r.Link.Loss == 0 && last > barWithoutLoss || r.Link.Loss <= barLoss && last > barWithLoss {
		out = append(out, "convergence")
	}
	if r.Link.Loss <= barLoss && r.perWatcher(r.Sent.Sum.Estimate()) > barOctets {
		out = append(out, "octets")
	}
	return out
}
