package watch

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// leading tells whether this watcher publishes now.
type leading struct{ now atomic.Bool }

func (l *leading) set(v bool) { l.now.Store(v) }

func (l *leading) gauge() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "isthmus_watcher_leading",
		Help: "1 while this watcher publishes its cluster's part. The sum over a cluster's watchers should be 1.",
	}, func() float64 {
		if l.now.Load() {
			return 1
		}
		return 0
	})
}
