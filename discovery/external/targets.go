package external

import (
	"maps"
	"slices"

	"github.com/isthmus-dns/isthmus/discovery/probe"
)

// aim makes the endpoints that are to be checked the prober's targets.
func (c *Checker) aim() {
	c.mu.Lock()
	targets, beyond := c.targetsLocked()
	tell := beyond > 0 && c.leftOut == 0
	c.leftOut = beyond
	c.mu.Unlock()
	c.prober.SetTargets(targets)
	if tell {
		c.log.Warn("too many endpoints to check, the rest count as ready by their slices",
			"checked", len(targets), "left_out", beyond)
	}
}

// targetsLocked lists the first endpoint of each service, then the second, and
// so on: what is beyond the bound is of the services that have most.
func (c *Checker) targetsLocked() (targets []probe.Target, beyond int) {
	var lists [][]probe.Target
	for _, key := range slices.Sorted(maps.Keys(c.services)) {
		var list []probe.Target
		for _, t := range c.services[key].targets {
			if t.Port != 0 {
				list = append(list, t)
			}
		}
		if len(list) > 0 {
			lists = append(lists, list)
			beyond += len(list)
		}
	}
	for i := 0; len(lists) > 0 && len(targets) < MaxTargets; i++ {
		for _, list := range lists {
			if len(targets) < MaxTargets {
				targets = append(targets, list[i])
			}
		}
		lists = slices.DeleteFunc(lists, func(list []probe.Target) bool { return len(list) == i+1 })
	}
	return targets, beyond - len(targets)
}
