package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Limits bound what a prober takes up. Zero fields take DefaultLimits'.
type Limits struct {
	// PerCluster is how many addresses and ports of one cluster are checked.
	PerCluster int
	// Total is how many of all clusters are. Beyond it every cluster gets an
	// equal part, and what one doesn't need goes to the others.
	Total int
	// InFlight is how many checks run at one time. Each costs a file
	// descriptor and some 10 KiB. Only when thousands of targets swallow
	// packets together, checks have to wait for their turn, and then dead
	// targets are found later than promised.
	InFlight int
}

// DefaultLimits fit a clusterset of 1,000 clusters with four gateways each.
func DefaultLimits() Limits { return Limits{PerCluster: 256, Total: 4096, InFlight: 2048} }

func (l Limits) or(d Limits) Limits {
	if l.PerCluster == 0 {
		l.PerCluster = d.PerCluster
	}
	if l.Total == 0 {
		l.Total = d.Total
	}
	if l.InFlight == 0 {
		l.InFlight = d.InFlight
	}
	return l
}

// Validate says what is wrong with limits.
func (l Limits) Validate() error {
	if l.PerCluster < 0 || l.Total < 0 || l.InFlight < 0 {
		return errors.New("limits: want positive numbers")
	}
	if l.PerCluster > 1<<16 || l.Total > 1<<16 || l.InFlight > 1<<16 {
		return fmt.Errorf("limits: at most %d", 1<<16)
	}
	return nil
}

// group is what belongs to one cluster; guarded by Prober.mu.
type group struct {
	cluster string
	wanted  []Target // valid ones, each once, at most Limits.PerCluster, in order of precedence
	refused int      // of those that were asked for: not valid, or beyond the limit
	// expanded is wanted with addresses in place of host names, what is unfit
	// left out, at most Limits.PerCluster.
	expanded []Target
	unfit    int  // addresses of expanded that are not fit
	beyond   int  // addresses and names that limits of a cluster left out
	stale    bool // probes are not those of expanded yet
	names    names
	probes   map[Target]*probed // by identity
	// newcomer is when the next new target may be checked for the first time.
	// A cluster that names others all the time has no more checked by it.
	newcomer time.Time
	dirty    bool // what was last published of it is outdated
}

func newGroup(cluster string, now time.Time) *group {
	g := &group{cluster: cluster, probes: map[Target]*probed{}, newcomer: now}
	g.names.job.lookup = g
	return g
}

// want takes a cluster's new list in and tells whether it differs.
func (g *group) want(list []Target, limit int) bool {
	refused := g.refused
	g.refused = 0
	kept := make([]Target, 0, min(len(list), limit))
	seen := make(map[Target]bool, len(list))
	for _, t := range list {
		health := t.Health
		t = t.identity()
		if seen[t] {
			continue
		}
		seen[t] = true
		t.Health = health
		if len(kept) == limit || t.Validate() != nil {
			g.refused++
			continue
		}
		kept = append(kept, t)
	}
	if slices.Equal(kept, g.wanted) && refused == g.refused {
		return false
	}
	g.wanted = kept
	return true
}

// expand puts the addresses of host names in their place.
func (g *group) expand(limit int, fit func(netip.Addr) bool) {
	g.expanded, g.unfit, g.beyond, g.stale = nil, 0, 0, true
	seen := make(map[Target]bool, len(g.wanted))
	add := func(t Target) {
		id := t.identity()
		switch {
		case seen[id]:
		case !fit(t.Addr):
			g.unfit++
		case len(g.expanded) >= limit:
			g.beyond++
		default:
			seen[id] = true
			g.expanded = append(g.expanded, t)
		}
	}
	for _, t := range g.wanted {
		if t.Addr.IsValid() {
			add(t)
			continue
		}
		addrs, kept := g.names.addrs(t.Host)
		if !kept {
			g.beyond++
		}
		for _, a := range addrs {
			t.Addr = a
			add(t)
		}
	}
}

// allotment is how many targets each cluster may have so that all together
// stay within total, if each takes no more than it needs: who needs less than
// an even part leaves the rest to the others (max-min fairness). It is total
// when there is enough for all, and 1 at least, whatever total is.
func allotment(needs []int, total int) int {
	sorted := slices.Sorted(slices.Values(needs))
	left := total
	for i, need := range sorted {
		if even := left / (len(sorted) - i); need > even {
			return max(even, 1)
		}
		left -= need
	}
	return total
}
