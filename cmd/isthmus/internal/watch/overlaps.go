package watch

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-dns/isthmus/discovery"
)

const (
	// compareEvery is how often clusters are compared at most. A cluster that
	// changes its record all the time must not keep us busy, nor fill the log.
	compareEvery = 10 * time.Second
	// maxOverlaps bounds the pairs that are told one by one. A clusterset where
	// everybody has the installer's default Pod network has very many.
	maxOverlaps = 100
	// maxOverlapLines bounds what is logged at a time of pairs that come, and of
	// those that go.
	maxOverlapLines = 10
)

// overlaps tells of clusters that claim one network though they use the same
// addresses in it.
type overlaps struct {
	table *discovery.Table
	log   *slog.Logger
	pairs prometheus.Gauge
	now   atomic.Pointer[discovery.Overlaps]

	// The rest is run's alone.
	seen *[]*discovery.Cluster
	told map[overlapping]discovery.Overlap // begun, and not ended yet
}

// overlapping names a pair.
type overlapping struct{ network, a, b string }

func newOverlaps(table *discovery.Table, r prometheus.Registerer, log *slog.Logger) *overlaps {
	o := &overlaps{
		table: table, log: log, told: map[overlapping]discovery.Overlap{},
		pairs: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "isthmus_network_overlaps",
			Help: "Pairs of clusters that claim one network and use the same addresses in it: clients of one may reach wrong Pods for the other's.",
		}),
	}
	o.now.Store(&discovery.Overlaps{})
	r.MustRegister(o.pairs)
	return o
}

// run compares clusters when their records have changed, until ctx ends.
func (o *overlaps) run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var next time.Time
	for {
		if began := time.Now(); !began.Before(next) && o.look() {
			next = time.Now().Add(max(compareEvery, walkShare*time.Since(began)))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// look compares, unless no record has changed.
func (o *overlaps) look() bool {
	records := o.table.Records()
	if records == o.seen {
		return false
	}
	o.seen = records
	found := discovery.FindOverlaps(*records, maxOverlaps)
	o.now.Store(&found)
	o.pairs.Set(float64(found.Pairs))
	o.tellEnds(&found, *records)
	o.tellBegins(&found)
	return true
}

// tellEnds logs what was told to begin and is over. A pair that only found no
// room in the list is not.
func (o *overlaps) tellEnds(found *discovery.Overlaps, records []*discovery.Cluster) {
	listed := make(map[overlapping]bool, len(found.Listed))
	for _, f := range found.Listed {
		listed[pairOf(f)] = true
	}
	lines := 0
	for pair, was := range o.told {
		if listed[pair] || len(found.Listed) < found.Pairs && stillOverlap(pair, records) {
			continue
		}
		delete(o.told, pair)
		if lines++; lines <= maxOverlapLines {
			o.log.Info("clusters of one network use the same addresses no more", attrs(was)...)
		}
	}
	if more := lines - maxOverlapLines; more > 0 {
		o.log.Info("more clusters of one network use the same addresses no more", "pairs", more, "left", found.Pairs)
	}
}

// tellBegins logs what is new.
func (o *overlaps) tellBegins(found *discovery.Overlaps) {
	lines, more := 0, 0
	for _, f := range found.Listed {
		pair := pairOf(f)
		if _, told := o.told[pair]; told {
			continue
		}
		if len(o.told) >= maxOverlaps {
			break
		}
		o.told[pair] = f
		if lines++; lines <= maxOverlapLines {
			o.log.Warn("clusters of one network use the same addresses, names may lead to wrong Pods: give them different networks in watcher.yaml, or none", attrs(f)...)
		} else {
			more++
		}
	}
	if more > 0 {
		o.log.Warn("more clusters of one network use the same addresses: see `isthmus status`", "pairs", more, "all", found.Pairs)
	}
}

func pairOf(o discovery.Overlap) overlapping {
	return overlapping{o.Network, o.A.Cluster, o.B.Cluster}
}

func attrs(o discovery.Overlap) []any {
	return []any{"network", o.Network, "one", o.A.String(), "other", o.B.String()}
}

// stillOverlap looks at one pair again.
func stillOverlap(pair overlapping, records []*discovery.Cluster) bool {
	two := slices.Clone(records)
	two = slices.DeleteFunc(two, func(c *discovery.Cluster) bool {
		return c.Network != pair.network || c.Name != pair.a && c.Name != pair.b
	})
	return discovery.FindOverlaps(two, 1).Pairs > 0
}
