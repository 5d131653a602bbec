package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
)

const (
	// changesPerMinute is the load: of all services.
	changesPerMinute = 0.01
	// pollEvery is how often tables are looked at: convergence is measured that
	// coarsely, and never too short.
	pollEvery = 20 * time.Millisecond
)

// change is one change of one service until all watchers show it.
type change struct {
	key     discovery.Key
	cluster string
	ready   uint32
	at      time.Time
	missing []*Watcher
}

// Convergence is how long changes took.
type Convergence struct {
	Changes int
	Pairs   []time.Duration // each change at each watcher; sorted
	Last    []time.Duration // each change at its last watcher; sorted
	Never   int             // pairs that were not seen in the time given
}

// Load changes services at random for a time, then waits until all changes are
// seen, at most for patience.
func (s *Clusterset) Load(during, patience time.Duration) *Convergence {
	c := &Convergence{}
	services := len(s.Clusters) * len(s.Clusters[0].ready)
	rate := float64(services) * changesPerMinute / time.Minute.Seconds()
	pause := func() time.Duration { return time.Duration(s.rng.ExpFloat64() / rate * float64(time.Second)) }
	end := time.Now().Add(during)
	next := time.Now().Add(pause())
	var open []*change
	for now := time.Now(); now.Before(end) || len(open) > 0 && now.Before(end.Add(patience)); now = time.Now() {
		for !next.After(now) && next.Before(end) {
			open = append(open, s.change())
			c.Changes++
			next = next.Add(pause())
		}
		open = slices.DeleteFunc(open, func(ch *change) bool { return c.look(ch, now) })
		wake := now.Add(pollEvery)
		if next.Before(end) && next.Before(wake) && next.After(now) {
			wake = next
		}
		time.Sleep(wake.Sub(now))
	}
	for _, ch := range open {
		c.Never += len(ch.missing)
	}
	slices.Sort(c.Pairs)
	slices.Sort(c.Last)
	return c
}

func (s *Clusterset) change() *change {
	c := s.Clusters[s.rng.IntN(len(s.Clusters))]
	i := s.rng.IntN(len(c.ready))
	return &change{
		key: serviceKey(i), cluster: c.Name, at: time.Now(), missing: slices.Clone(s.Watchers), ready: c.change(i),
	}
}

// look notes which watchers show the change now, and tells whether all do.
func (c *Convergence) look(ch *change, now time.Time) bool {
	took := now.Sub(ch.at)
	before := len(ch.missing)
	ch.missing = slices.DeleteFunc(ch.missing, func(w *Watcher) bool { return ch.shownBy(w.Table) })
	for range before - len(ch.missing) {
		c.Pairs = append(c.Pairs, took)
	}
	if len(ch.missing) > 0 {
		return false
	}
	c.Last = append(c.Last, took)
	return true
}

func (ch *change) shownBy(t *discovery.Table) bool {
	e := t.Lookup(ch.key)
	if e == nil {
		return false
	}
	i, found := slices.BinarySearchFunc(e.Candidates, ch.cluster, func(c discovery.Candidate, name string) int {
		return strings.Compare(c.Cluster, name)
	})
	return found && e.Candidates[i].Service.Counts[0].Ready >= ch.ready
}

// Quantile of sorted durations, 0 to 1; 0 without any.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
