package locality

import (
	"math"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Decide places every candidate in a tier and divides all answers among those
// that may be answered. The candidates' order decides nothing but the order of
// verdicts.
//
// Candidates whose gateway is down are out. Only if nothing else is left they
// are back: those that are not silent, or, if there is none, those that are.
func Decide(viewer Viewer, policy Policy, candidates []Candidate) *Plan {
	p := &Plan{Verdicts: make([]Verdict, len(candidates))}
	if len(candidates) == 0 {
		return p
	}
	d := decision{
		to:         policy.distributeFrom(viewer.Locality),
		candidates: candidates,
		verdicts:   p.Verdicts,
		places:     make([]place, len(candidates)),
	}
	d.ladder = ladderFor(viewer, &policy, d.to != nil)
	d.place()
	d.load()
	p.choose(&d)
	if policy.affinity {
		p.key(candidates)
	}
	return p
}

// decision is a plan in the making.
type decision struct {
	ladder      ladder
	to          []portion // the patterns of a distribute rule that applies
	candidates  []Candidate
	verdicts    []Verdict
	places      []place // of the candidates
	admit       standing
	groups      []group // tiers, or if distributed two for each pattern
	distributed bool
}

// place is where a candidate belongs, in or out.
type place struct {
	standing standing
	out      Reason // why it can't be answered, whatever the others are
	priority int    // its tier, if nothing is distributed
	pattern  int    // of the distribute rule, -1 for none
	demoted  bool   // one tier lower, being silent
	group    int    // in decision.groups, -1 for none
}

// standing is when a candidate may be answered.
type standing uint8

const (
	always     standing = iota
	panicking           // if there is no other
	lastResort          // if there is none of those either
	never
)

// place finds the tiers of all candidates, also of those that are out: a
// tier's health counts them.
func (d *decision) place() {
	for i := range d.candidates {
		c, v, at := &d.candidates[i], &d.verdicts[i], &d.places[i]
		own := isOwn(d.ladder.viewer, c)
		v.Band = NextBand(c.Band, c.RTT)
		v.Stale = c.Freshness != Fresh && !own
		v.frozen = c.Freshness == Frozen && !own
		at.demoted = c.silent(own)
		at.priority = d.ladder.place(c, v.Band)
		at.pattern = match(d.to, c.Locality)
		at.out = outReason(c)
		switch {
		case at.out != ReasonNone:
			at.standing = never
		case c.down() && at.demoted:
			at.standing = lastResort
		case c.down():
			at.standing = panicking
		}
	}
}

// load divides the answers among groups.
func (d *decision) load() {
	d.admit = never
	for _, at := range d.places {
		d.admit = min(d.admit, at.standing)
	}
	if len(d.to) > 0 {
		d.group(2*len(d.to), func(at *place) int {
			switch {
			case at.pattern < 0:
				return -1
			case at.demoted:
				return 2*at.pattern + 1
			}
			return 2 * at.pattern
		})
		if d.distributed = distribute(d.groups, d.to); d.distributed {
			return
		}
	}
	d.group(d.ladder.other()+2, func(at *place) int { return at.priority })
	spill(d.groups, 0, one)
}

// group sums candidates up in groups.
func (d *decision) group(n int, of func(*place) int) {
	d.groups = make([]group, n)
	for i := range d.candidates {
		at := &d.places[i]
		at.group = of(at)
		if at.group < 0 || d.candidates[i].Drained {
			continue
		}
		g := &d.groups[at.group]
		if !d.candidates[i].stranded() {
			g.total += d.candidates[i].total()
		}
		if d.admits(i) {
			g.healthy += uint64(d.candidates[i].Ready)
			g.weight += d.weight(i)
		}
	}
}

// admits tells whether a candidate may be answered.
func (d *decision) admits(i int) bool {
	return d.places[i].standing == d.admit && d.admit != never
}

// weight is a candidate's inside its group: what the service's endpoints weigh
// together. The first limit is the model's own; the second keeps the sum of all
// in 64 bits whatever a caller gives.
func (d *decision) weight(i int) uint64 {
	c := &d.candidates[i]
	w := uint64(c.Ready) * uint64(min(max(c.Weight, 1), discovery.MaxWeight))
	return min(w, math.MaxInt64/uint64(len(d.candidates)))
}
