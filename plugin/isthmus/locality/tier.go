package locality

// Tier is the kind of a tier: what its candidates have in common with the
// viewer. It is a label of metrics and has few values; how many tiers there
// are, and in which order, is the business of Verdict.Priority.
type Tier int8

// The kinds of tiers.
const (
	TierOut        Tier = iota - 1 // none: the candidate is out
	TierOwn                        // the viewer's cluster
	TierSubzone                    // its subzone
	TierZone                       // its zone
	TierRegion                     // its region
	TierLatency                    // a band of round-trip times
	TierFailover                   // a region that the policy fails over to
	TierOther                      // the rest
	TierDistribute                 // what a distribute rule names
	// Tiers is the number of kinds that a candidate can be in.
	Tiers = iota - 1
)

// String is the tier's name in _why, in metrics and in the API.
func (t Tier) String() string {
	switch t {
	case TierOwn:
		return "own"
	case TierSubzone:
		return "subzone"
	case TierZone:
		return "zone"
	case TierRegion:
		return "region"
	case TierLatency:
		return "latency"
	case TierFailover:
		return "failover"
	case TierOther:
		return "other"
	case TierDistribute:
		return "distribute"
	}
	return "out"
}

// MaxPriorities is above all priorities: those of the longest ladder, with a
// distribute rule, latency bands and a full failover list.
const MaxPriorities = 2 + 1 + Bands + MaxFailover + 2

// ladder is the order of tiers for one viewer and policy; a tier's number in it
// is the priority. It depends on no candidate, so that numbers don't change
// with them. By default:
//
//	0 own, 1 zone, 2 region, 3 other
//
// A viewer that knows its subzone has that before its zone, as in Istio.
// Failover regions come before the rest, each a tier. With latency order the
// bands replace zone and region. A distribute rule comes before all. Silent
// candidates go one tier lower, so the rest, and what is distributed, have a
// second tier for them.
type ladder struct {
	viewer     Viewer
	distribute int // tiers of a distribute rule: 2 or 0
	near       int // tiers between the own cluster and the failover regions
	latency    bool
	failover   []string
}

func ladderFor(v Viewer, p *Policy, distributed bool) ladder {
	l := ladder{viewer: v, near: 2, failover: p.failoverFrom(v.Locality.Region)}
	if distributed {
		l.distribute = 2
	}
	switch {
	case p.latency:
		l.latency, l.near = true, Bands
	case v.Locality.Subzone != "":
		l.near = 3
	}
	return l
}

// own, failovers and other are the first priorities of their tiers.
func (l *ladder) own() int       { return l.distribute }
func (l *ladder) failovers() int { return l.own() + 1 + l.near }
func (l *ladder) other() int     { return l.failovers() + len(l.failover) }

// kind is what the tier of a priority is.
func (l *ladder) kind(priority int) Tier {
	switch {
	case priority < l.distribute:
		return TierDistribute
	case priority == l.own():
		return TierOwn
	case priority >= l.other():
		return TierOther
	case priority >= l.failovers():
		return TierFailover
	case l.latency:
		return TierLatency
	}
	return TierRegion - Tier(l.failovers()-1-priority)
}

// place is the priority of a candidate in a band.
func (l *ladder) place(c *Candidate, band Band) int {
	near := nearness(l.viewer, c)
	if near == TierOwn {
		return l.own()
	}
	at := l.other()
	for i, region := range l.failover {
		if region == c.Locality.Region {
			at = l.failovers() + i
			break
		}
	}
	switch {
	case l.latency && band == NoBand:
		if b := likelyBand(near); b != NoBand {
			at = l.own() + int(b)
		}
	case l.latency:
		at = l.own() + int(band)
	case near == TierSubzone, near == TierZone, near == TierRegion:
		at = l.failovers() - 1 - int(TierRegion-near)
	}
	if c.silent(false) {
		at++
	}
	return at
}

// likelyBand is the band of what shares a zone or a region with the viewer but
// was not measured.
func likelyBand(near Tier) Band {
	switch near {
	case TierSubzone, TierZone:
		return unmeasuredZone
	case TierRegion:
		return unmeasuredRegion
	}
	return NoBand
}

// nearness is what a candidate shares with the viewer. Unknown fields match
// nothing, and zones of two regions are two zones even if one name names both.
func nearness(v Viewer, c *Candidate) Tier {
	switch {
	case isOwn(v, c):
		return TierOwn
	case !same(v.Locality.Region, c.Locality.Region):
		return TierOther
	case !same(v.Locality.Zone, c.Locality.Zone):
		return TierRegion
	case !same(v.Locality.Subzone, c.Locality.Subzone):
		return TierZone
	}
	return TierSubzone
}

func isOwn(v Viewer, c *Candidate) bool { return v.Cluster != "" && v.Cluster == c.Cluster }

func same(a, b string) bool { return a != "" && a == b }
