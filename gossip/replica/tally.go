package replica

import (
	"maps"
	"sync"
	"time"
)

// Tally is what a subscriber has refused and pulled since it was made. An agent
// may have several subscribers, which CoreDNS's registry does not tell apart:
// whoever has them adds their tallies up.
type Tally struct {
	Refused map[string]uint64 // heads, messages and records, by reason
	Pulls   map[string]uint64 // by result: applied, failed
	// Heard is when a watcher was last heard of, or when the copy on disk was
	// written that the table began with; zero for neither.
	Heard time.Time
}

// tally counts for a subscriber. Reasons and results are words of ours, so that
// the maps stay small.
type tally struct {
	mu      sync.Mutex
	refused map[string]uint64 // guarded by mu
	pulls   map[string]uint64 // guarded by mu
	heard   time.Time         // guarded by mu
}

func newTally() *tally { return &tally{refused: map[string]uint64{}, pulls: map[string]uint64{}} }

func (t *tally) refuse(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused[refusalReason(err)]++
}

func (t *tally) pulled(result string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pulls[result]++
}

func (t *tally) hear(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard = at
}

// Tally returns what was counted up to now. It is a copy.
func (s *Subscriber) Tally() Tally {
	t := s.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	return Tally{Refused: maps.Clone(t.refused), Pulls: maps.Clone(t.pulls), Heard: t.heard}
}
