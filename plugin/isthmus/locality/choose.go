package locality

import (
	"cmp"
	"slices"
)

// choose makes the verdicts from the loads of groups, and divides the numbers
// that Pick is given.
func (p *Plan) choose(d *decision) {
	nearest := slices.IndexFunc(d.groups, func(g group) bool { return g.load > 0 })
	for i := range p.Verdicts {
		if !d.admits(i) {
			p.Verdicts[i] = Verdict{Tier: TierOut, Band: p.Verdicts[i].Band, Reason: d.places[i].outReason()}
			continue
		}
		d.conclude(i, nearest)
		if p.Verdicts[i].In {
			p.chosen = append(p.chosen, i)
		}
	}
	// By name, since a plan must not depend on the candidates' order.
	slices.SortFunc(p.chosen, func(a, b int) int {
		return cmp.Or(cmp.Compare(d.places[a].group, d.places[b].group),
			cmp.Compare(d.candidates[a].Cluster, d.candidates[b].Cluster))
	})
	p.divide(d)
}

// outReason says why a candidate is out.
func (at *place) outReason() Reason {
	switch at.standing {
	case panicking:
		return ReasonDown
	case lastResort:
		return ReasonDownSilent
	}
	return at.out
}

// conclude makes the verdict about a candidate that may be answered. nearest is
// the first group that has a load.
func (d *decision) conclude(i, nearest int) {
	v, at := &d.verdicts[i], &d.places[i]
	v.Priority, v.Weight, v.Reason = at.priority, d.weight(i), ReasonStandby
	var g group
	if at.group >= 0 {
		g = d.groups[at.group]
	}
	if g.load > 0 {
		v.In, v.Reason = true, d.inReason(at.group == nearest)
		v.Share = float64(g.load) / one * (float64(v.Weight) / float64(g.weight))
	}
	switch {
	case !d.distributed:
		v.Detail = d.detail(v, at)
	case at.pattern < 0:
		v.Reason = ReasonUnmatched
	default:
		v.Priority = at.group % 2
		v.Weight = d.portionWeight(at, v.Weight)
		v.Detail = d.to[at.pattern].text
	}
	v.Tier = d.ladder.kind(v.Priority)
}

// inReason is the rule that gives a candidate answers.
func (d *decision) inReason(nearest bool) Reason {
	switch {
	case d.admit == panicking:
		return ReasonPanic
	case d.admit == lastResort:
		return ReasonLastResort
	case d.distributed:
		return ReasonDistribute
	case nearest:
		return ReasonChosen
	}
	return ReasonSpill
}

// detail is what a candidate's tier was decided by where its kind doesn't say.
func (d *decision) detail(v *Verdict, at *place) string {
	switch {
	case len(d.to) > 0:
		return "no pattern of the distribute rule has candidates"
	case d.ladder.latency && at.priority > d.ladder.own():
		return bandTexts[v.Band]
	}
	return ""
}

// portionWeight is a candidate's weight among all that a distribute rule names,
// as they are one tier: its part of 10,000, with what its pattern gets.
func (d *decision) portionWeight(at *place, weight uint64) uint64 {
	const parts = 10_000
	load := d.groups[2*at.pattern].load + d.groups[2*at.pattern+1].load
	// Rounded to the nearest; what is small is not nothing.
	double := scale(2*parts, scale(load, weight, d.groups[at.group].weight), one)
	return max((double+1)/2, 1)
}

// divide gives each chosen candidate its part of all 64-bit numbers.
func (p *Plan) divide(d *decision) {
	if len(p.chosen) < 2 {
		return
	}
	p.bounds = make([]uint64, 0, len(p.chosen)-1)
	var sum uint64 // of weights in the group so far
	for n, i := range p.chosen[:len(p.chosen)-1] {
		at := d.places[i].group
		if n > 0 && at != d.places[p.chosen[n-1]].group {
			sum = 0
		}
		sum += d.weight(i)
		g := d.groups[at]
		// Rounded down it is below one, since something comes after it.
		end := g.begin + scale(g.load, sum, g.weight)
		p.bounds = append(p.bounds, end*(1<<64/one))
	}
}

// key makes what PickFor needs.
func (p *Plan) key(candidates []Candidate) {
	p.keyed = make([]keyed, len(p.chosen))
	for n, i := range p.chosen {
		p.keyed[n] = keyed{key: nameKey(candidates[i].Cluster), inverse: 1 / p.Verdicts[i].Share}
	}
}
