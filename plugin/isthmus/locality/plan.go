package locality

import (
	"fmt"
	"strconv"
)

// Verdict is what was decided about one candidate.
type Verdict struct {
	// Tier is the kind of the candidate's tier; TierOut when it can't be
	// answered at all now.
	Tier Tier
	// Priority is the number of its tier: lower ones are used first. It is the
	// priority of SRV records, below MaxPriorities.
	Priority int
	// Weight is its weight inside its tier, 0 when it is out.
	Weight uint64
	// Share is the part of answers that it gets, 0 to 1; above 0 if it is in.
	Share float64
	// In tells whether it gets any answers now.
	In bool
	// Stale tells that what is known of the candidate may be outdated; an
	// answer that names it says so (Extended DNS Error 3). False when it is
	// out.
	Stale bool
	// Band is its latency band, to be given to the next decision.
	Band Band
	// Reason is the rule that decided, Detail what it decided by: a pattern
	// with its weight, or a band. Rule puts them in words.
	Reason Reason
	Detail string

	frozen bool // stale, but in its own tier
}

// Rule is the deciding rule in words, as _why and explain show it.
func (v Verdict) Rule() string {
	rule := v.Reason.String()
	if v.Detail != "" {
		rule += " (" + v.Detail + ")"
	}
	switch {
	case v.frozen:
		return rule + "; silent with most others: we are cut off"
	case v.Stale:
		return rule + "; silent, so one tier further"
	}
	return rule
}

// Standing is the verdict without its rule: "in tier=3(other) weight=3
// share=60%", "standby tier=3(other) weight=3" or "out weight=0".
func (v Verdict) Standing() string {
	switch {
	case v.In:
		return fmt.Sprintf("in tier=%d(%s) weight=%d share=%s%%", v.Priority, v.Tier, v.Weight, strconv.FormatFloat(v.Share*100, 'g', 3, 64))
	case v.Tier == TierOut:
		return "out weight=0"
	}
	return fmt.Sprintf("standby tier=%d(%s) weight=%d", v.Priority, v.Tier, v.Weight)
}

// Plan is the decision about all candidates of a service for one viewer. It is
// immutable. The zero Plan has no candidate.
type Plan struct {
	// Verdicts are in the order of the candidates.
	Verdicts []Verdict

	chosen []int // candidates that are in, by tier and name
	// bounds are the ends of their parts of all numbers, but for the last one,
	// whose part has no end.
	bounds []uint64
	keyed  []keyed // of each chosen one, with affinity
}

// Empty tells whether no candidate is in.
func (p *Plan) Empty() bool { return len(p.chosen) == 0 }

// Affine tells whether the policy wants a client to keep its cluster: PickFor
// then chooses, else Pick.
func (p *Plan) Affine() bool { return p.keyed != nil }

// Pick returns the index of one candidate, each with the probability of its
// share when r is uniformly distributed over all of uint64; -1 when none is
// in. It doesn't allocate.
func (p *Plan) Pick(r uint64) int {
	if len(p.chosen) == 0 {
		return -1
	}
	lo, hi := 0, len(p.bounds)
	for lo < hi {
		mid := (lo + hi) / 2
		if r < p.bounds[mid] {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return p.chosen[lo]
}
