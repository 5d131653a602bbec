package propagation

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// delays are what was measured, by kind of change.
type delays struct {
	mu     sync.Mutex
	byKind [kinds][]time.Duration
}

func (d *delays) add(k kind, took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.byKind[k] = append(d.byKind[k], took)
}

func (d *delays) all() []time.Duration {
	return slices.Concat(d.byKind[:]...)
}

// quantile is the smallest value that at least the share q of all values does
// not exceed: no value is made up between two.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	at := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(at, 0), len(sorted)-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// String is the distribution as a table, in milliseconds.
func (d *delays) String() string {
	var b strings.Builder
	line := func(what string, values []time.Duration) {
		fmt.Fprintf(&b, "%-26s %5d", what, len(values))
		for _, q := range []float64{0.5, 0.9, 0.99, 1} {
			fmt.Fprintf(&b, " %8.1f", milliseconds(quantile(values, q)))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%-26s %5s %8s %8s %8s %8s\n", "change in east (ms)", "n", "p50", "p90", "p99", "max")
	for _, k := range life {
		line(k.String(), d.byKind[k])
	}
	line("all", d.all())
	return b.String()
}
