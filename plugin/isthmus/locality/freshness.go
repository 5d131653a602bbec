package locality

import (
	"slices"
	"time"
)

// Freshness is whether a cluster's watchers were heard of lately.
type Freshness uint8

// The states of a cluster's record.
const (
	// Fresh is what was heard of within SilentAfter.
	Fresh Freshness = iota
	// Silent candidates are answered one tier lower.
	Silent
	// Frozen is silent together with most others, so that it is we who are cut
	// off: candidates stay in their tiers, and answers say that they are stale.
	Frozen
)

// String is the state's name in explanations.
func (f Freshness) String() string {
	switch f {
	case Silent:
		return "silent"
	case Frozen:
		return "frozen"
	}
	return "fresh"
}

const (
	// SilentAfter is three heartbeats.
	SilentAfter = 30 * time.Second
	// Together is how far apart clusters may turn silent by one cause: some
	// heartbeats, and what routers take to give up routes. It is what
	// gossip/replica takes before it forgets anybody.
	Together = 5 * time.Minute
)

// Judge tells from the times since all other clusters of the set were last
// heard of, by a monotonic clock, which are fresh and which are silent. When
// more than half of those that were there turned silent together and still are,
// it is we who are cut off: they are frozen, and so is what turned silent
// after them. Clusters that were silent long before stay so and count no more.
// The only other cluster of two is more than half, so two clusters never demote
// each other. Clusters that are retired are to be left out.
func Judge(since []time.Duration) (states []Freshness, cutOff bool) {
	states = make([]Freshness, len(since))
	var silent []time.Duration // the longest first
	for i, t := range since {
		if t >= SilentAfter {
			states[i] = Silent
			silent = append(silent, t)
		}
	}
	slices.SortFunc(silent, func(a, b time.Duration) int { return int(min(max(b-a, -1), 1)) })
	for first, begin := range silent {
		group := 0
		for _, t := range silent[first:] {
			if begin-t <= Together {
				group++
			}
		}
		if there := len(since) - first; 2*group <= there {
			continue
		}
		for i, t := range since {
			if t >= SilentAfter && t <= begin {
				states[i] = Frozen
			}
		}
		return states, true
	}
	return states, false
}
