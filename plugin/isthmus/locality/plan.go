package locality

import "math/bits"

// Reasons that verdicts carry: the rule that let a candidate in or kept it out.
const (
	ReasonChosen     = "lowest tier with candidates"
	ReasonStandby    = "a lower tier has candidates"
	ReasonNoReady    = "no ready endpoint"
	ReasonNoAddress  = "no address"
	ReasonNoGateway  = "no gateway"
	ReasonUnresolved = "gateway host name not resolved"
	ReasonNoHost     = "gateway host name has no address"
	ReasonRefused    = "address is loopback, link-local or a metadata service"
)

// Verdict is what was decided about one candidate.
type Verdict struct {
	// Tier is the candidate's tier; TierOut when it can't be answered at all.
	Tier Tier
	// Weight is its weight inside its tier, 0 when it is out.
	Weight uint64
	// Share is the part of answers that it gets, 0 to 1.
	Share float64
	// In tells whether it gets any answers now.
	In bool
	// Reason names the rule.
	Reason string
}

// Plan is the decision about all candidates of a service for one viewer. It is
// immutable.
type Plan struct {
	// Verdicts are in the order of the candidates.
	Verdicts []Verdict

	chosen []int    // candidates that are in
	bounds []uint64 // running sums of their weights
}

// Decide places every candidate in a tier and gives all answers to the lowest
// tier that has one which may be answered. The candidates' order decides
// nothing but the order of verdicts.
func Decide(viewer Viewer, _ Policy, candidates []Candidate) *Plan {
	p := &Plan{Verdicts: make([]Verdict, len(candidates))}
	var load [Tiers]uint64 // the sum of weights in each tier
	for i, c := range candidates {
		if reason := outReason(c); reason != "" {
			p.Verdicts[i] = Verdict{Tier: TierOut, Reason: reason}
			continue
		}
		t := tierOf(viewer, c)
		p.Verdicts[i] = Verdict{Tier: t, Weight: uint64(c.Ready) * uint64(max(c.Weight, 1)), Reason: ReasonStandby}
		load[t] += p.Verdicts[i].Weight
	}
	for t, sum := range load {
		if sum > 0 {
			p.fill(Tier(t), sum)
			break
		}
	}
	return p
}

// fill gives all answers to one tier.
func (p *Plan) fill(t Tier, sum uint64) {
	var bound uint64
	for i := range p.Verdicts {
		v := &p.Verdicts[i]
		if v.Tier != t {
			continue
		}
		v.In, v.Reason = true, ReasonChosen
		v.Share = float64(v.Weight) / float64(sum)
		bound += v.Weight
		p.chosen = append(p.chosen, i)
		p.bounds = append(p.bounds, bound)
	}
}

// Pick returns the index of one candidate, each with the probability of its
// share when r is uniformly distributed over all of uint64; -1 when none is
// in. It doesn't allocate.
func (p *Plan) Pick(r uint64) int {
	switch len(p.chosen) {
	case 0:
		return -1
	case 1:
		return p.chosen[0]
	}
	// The high half of r × sum is uniform over [0, sum) but for a bias below
	// sum / 2^64 (Lemire, "Fast random integer generation in an interval").
	x, _ := bits.Mul64(r, p.bounds[len(p.bounds)-1])
	lo, hi := 0, len(p.bounds)-1
	for lo < hi {
		mid := (lo + hi) / 2
		if x < p.bounds[mid] {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return p.chosen[lo]
}

// Empty tells whether no candidate is in.
func (p *Plan) Empty() bool { return len(p.chosen) == 0 }

// outReason says why a candidate can't be answered, "" if it can.
func outReason(c Candidate) string {
	if c.Ready == 0 {
		return ReasonNoReady
	}
	switch c.Reach {
	case NoGateway:
		return ReasonNoGateway
	case Unresolved:
		return ReasonUnresolved
	case NoHost:
		return ReasonNoHost
	case Refused:
		return ReasonRefused
	}
	if !c.Reach.OK() {
		return ReasonNoAddress
	}
	return ""
}
