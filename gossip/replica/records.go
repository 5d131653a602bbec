package replica

import (
	"fmt"
	"slices"
	"sync"

	"github.com/isthmus-dns/isthmus/discovery"
)

// update is what leads the table from what is accepted of one part to what is
// accepted of another.
func (s *store) update(cluster string, from, to *part) discovery.Update {
	rule, aliases := s.rule(cluster), s.limits.Aliases
	if s.own(cluster) {
		aliases = 0
	}
	now := rule.choose(to, aliases)
	changed, removed := lead(from, rule.choose(from, aliases), to, now, s.omit)
	if s.noted.quota(cluster, now) {
		s.log.Warn("services beyond the cluster's quota are left out", "cluster", cluster, "left_out", now.excess(), "imported", len(now.only))
	}
	if hosts := now.hosts(); s.noted.changed(cluster+" aliases", hosts) && hosts > 0 {
		s.log.Warn("alias hosts beyond the limit for one cluster are left out", "cluster", cluster, "left_out", hosts, "limit", aliases)
	}
	u := s.decode(cluster, changed, now)
	for _, k := range removed {
		if key, ok := parseServiceKey(k); ok {
			u.Removed = append(u.Removed, key)
		}
	}
	return u
}

// decode reads records. One that does not decode or breaks a bound is left
// out, as if its service were not exported: it is the fault of its owner and
// harms nobody else.
func (s *store) decode(cluster string, changed []item, taken *selection) discovery.Update {
	var u discovery.Update
	for _, it := range changed {
		key, isService := parseServiceKey(it.key)
		switch {
		case it.key == clusterKey:
			record, err := decodeCluster(cluster, it.value)
			if err != nil {
				s.refuse(cluster, err)
				continue
			}
			u.Cluster = record
		case isService:
			service, err := s.shared.service(key, it)
			if err != nil {
				s.refuse(cluster, fmt.Errorf("%s: %w", it.key, err))
				u.Removed = append(u.Removed, key)
				continue
			}
			if err := taken.aliases(it.key); err != nil && len(service.Aliases) > 0 {
				bare := *service // which others may share
				bare.Aliases = nil
				service = &bare
				s.omit(err)
			}
			u.Services = append(u.Services, service)
		}
	}
	return u
}

// rule is what says how much of a cluster's part is accepted, nil if nothing
// does. Our own is.
func (s *store) rule(cluster string) *ImportRule {
	if s.own(cluster) {
		return nil
	}
	return s.imports.Load().rule(cluster)
}

func (s *store) own(cluster string) bool { return cluster == s.identity.ID().Cluster }

// denies tells whether nothing of a cluster is accepted, and counts it if so.
func (s *store) denies(cluster string) bool {
	if s.accepts(cluster) {
		return false
	}
	s.omit(errDenied)
	if s.noted.denied(cluster) {
		s.log.Info("cluster is not imported", "cluster", cluster)
	}
	return true
}

func (s *store) accepts(cluster string) bool {
	return s.own(cluster) || s.imports.Load().Accepts(cluster)
}

// setImport changes the rules, and what is held and answered by them. What is
// accepted from now on comes with the next announcement of its cluster.
func (s *store) setImport(im *Import) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.imports.Store(im)
	s.noted.clear()
	for cluster, have := range s.clusters {
		switch {
		case !s.accepts(cluster):
			s.dropLocked(cluster)
		case !have.head.Retired:
			s.table.Apply(cluster, s.anew(cluster, have.part), have.head.version())
		}
	}
}

// anew leads the table to what is accepted of a part now, from whatever was
// accepted of it before. It costs in proportion to the part; with a whole
// update, a thousand clusters would each walk the table.
func (s *store) anew(cluster string, p *part) discovery.Update {
	u := s.update(cluster, emptyPart, p)
	taken := make(map[discovery.Key]bool, len(u.Services))
	for _, service := range u.Services {
		taken[service.Key()] = true
	}
	u.Removed = slices.DeleteFunc(p.services(), func(key discovery.Key) bool { return taken[key] })
	return u
}

// clearLocked takes a cluster with its part out of the table. Without the part's
// keys the table would be walked.
func (s *store) clearLocked(cluster string, have *replicaPart) {
	if have != nil && have.head != nil && have.part.items > 0 {
		s.table.Apply(cluster, discovery.Update{Removed: have.part.services()}, have.head.version())
	}
	s.table.Drop(cluster)
}

// services are the keys of the part's services.
func (p *part) services() (keys []discovery.Key) {
	for _, b := range p.buckets {
		for i := range b.size() {
			if key, ok := parseServiceKey(b.key(i)); ok {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// notes are what the log has been told, so that it is told once per change.
type notes struct {
	mu   sync.Mutex
	left map[string]int // services that a cluster's quota leaves out, -1: all of it; guarded by mu
}

// quota tells whether a selection leaves out another number than the one before.
func (n *notes) quota(cluster string, s *selection) bool {
	return n.changed(cluster, s.excess()) && s.excess() > 0
}

func (n *notes) denied(cluster string) bool { return n.changed(cluster, -1) }

func (n *notes) changed(cluster string, left int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.left[cluster] == left {
		return false
	}
	// The names that are denied are what peers say: more than we care to keep.
	if n.left == nil || len(n.left) >= maxNotes {
		n.left = map[string]int{}
	}
	n.left[cluster] = left
	return true
}

// maxNotes is as many clusters as there are at most by default.
const maxNotes = 1000

func (n *notes) clear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.left = nil
}

// excess is how many services a selection leaves out for lack of room.
func (s *selection) excess() int {
	if s == nil {
		return 0
	}
	return s.left
}
