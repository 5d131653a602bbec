package sim

import (
	"math/rand/v2"
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

// churn says when services change: at random, at a steady rate.
type churn struct {
	rng  *rand.Rand
	rate float64 // changes a second
	next time.Time
}

func (s *Clusterset) churn() *churn {
	services := len(s.Clusters) * len(s.Clusters[0].ready)
	return &churn{rng: s.rng, rate: float64(services) * changesPerMinute / time.Minute.Seconds(), next: time.Now()}
}

// due tells whether a change is due, which is then the caller's to make.
func (c *churn) due(now time.Time) bool {
	if c.next.After(now) {
		return false
	}
	c.next = c.next.Add(time.Duration(c.rng.ExpFloat64() / c.rate * float64(time.Second)))
	return true
}

// Churn changes services for a time and looks at nothing.
func (s *Clusterset) Churn(during time.Duration) {
	churn := s.churn()
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(pollEvery) {
		for churn.due(time.Now()) {
			s.change(s.Watchers)
		}
	}
}

// Load changes services for a time, watches how the changes spread, and waits
// for the last of them, at most for patience.
func (s *Clusterset) Load(during, patience time.Duration) *Convergence {
	c := &Convergence{}
	var open []*change
	churn := s.churn()
	end := time.Now().Add(during)
	for now := time.Now(); now.Before(end) || len(open) > 0 && now.Before(end.Add(patience)); now = time.Now() {
		for now.Before(end) && churn.due(now) {
			open = append(open, s.change(s.Watchers))
			c.Changes++
		}
		open = slices.DeleteFunc(open, func(ch *change) bool { return c.look(ch, now) })
		time.Sleep(pollEvery)
	}
	for _, ch := range open {
		c.Never += len(ch.missing)
	}
	slices.Sort(c.Pairs)
	slices.Sort(c.Last)
	return c
}

// Convergence is how long changes took.
type Convergence struct {
	Changes int
	Pairs   []time.Duration // each change at each watcher; sorted
	Last    []time.Duration // each change at its last watcher; sorted
	Never   int             // pairs that were not seen in the time given
}

// change is one change of one service until all watchers show it.
type change struct {
	key     discovery.Key
	cluster string
	ready   uint32
	at      time.Time
	missing []*Watcher
}

// change changes some service. The watchers are those who shall show it.
func (s *Clusterset) change(watchers []*Watcher) *change {
	c := s.Clusters[s.rng.IntN(len(s.Clusters))]
	i := s.rng.IntN(len(c.ready))
	return &change{key: c.serviceKey(i), cluster: c.Name, at: time.Now(), missing: slices.Clone(watchers), ready: c.change(i)}
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

func (ch *change) shownBy(t *discovery.Table) bool { return ch.shown(t) >= ch.ready }

// shown is the number of ready endpoints that a table shows; 0 for none.
func (ch *change) shown(t *discovery.Table) uint32 {
	e := t.Lookup(ch.key)
	if e == nil {
		return 0
	}
	i, found := slices.BinarySearchFunc(e.Candidates, ch.cluster, func(c discovery.Candidate, name string) int {
		return strings.Compare(c.Cluster, name)
	})
	if !found {
		return 0
	}
	return e.Candidates[i].Service.Counts[0].Ready
}

// Quantile of sorted durations, q from 0 to 1; 0 without any.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
