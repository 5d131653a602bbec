package probe

import (
	"maps"
	"slices"
	"time"
)

// publicationLocked is when the next snapshot is due.
func (p *Prober) publicationLocked() (due time.Time, pending bool) {
	switch {
	case p.urgent:
		return p.published.Add(gather), true
	case p.lazy:
		return p.published.Add(quietRTT), true
	}
	return time.Time{}, false
}

// publishLocked makes a snapshot and closes the one before.
func (p *Prober) publishLocked(now time.Time) {
	before := p.current.Load()
	next := newSnapshot()
	next.Generation = before.Generation + 1
	next.clusters = maps.Clone(before.clusters)
	if next.clusters == nil {
		next.clusters = map[string][]Result{}
	}
	changed := false
	for cluster := range before.clusters {
		if p.groups[cluster] == nil {
			delete(next.clusters, cluster)
			changed = true
		}
	}
	for cluster, g := range p.groups {
		if !g.dirty {
			continue
		}
		g.dirty = false
		results := g.tell(now)
		if slices.Equal(results, before.clusters[cluster]) {
			continue
		}
		changed = true
		next.clusters[cluster] = results
		if len(results) == 0 {
			delete(next.clusters, cluster)
		}
	}
	p.urgent, p.lazy = false, false
	p.published = now
	// What moved within quietRTT of its last publication waits for its time.
	for _, g := range p.groups {
		p.lazy = p.lazy || g.dirty
	}
	if !changed {
		return
	}
	p.current.Store(next)
	close(before.outdated)
}

// tell is what to publish of a group. It stays dirty if something has to wait.
func (g *group) tell(now time.Time) []Result {
	results := make([]Result, 0, len(g.probes))
	for _, probe := range g.probes {
		state := probe.told.tell(now, &probe.record, probe.detail)
		results = append(results, Result{Target: probe.target, State: state})
		g.dirty = g.dirty || probe.record.rtt.moved(state.RTT)
	}
	slices.SortFunc(results, func(a, b Result) int { return a.Target.compare(b.Target) })
	return results
}
