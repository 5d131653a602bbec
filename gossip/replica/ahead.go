package replica

import "github.com/isthmus-dns/isthmus/discovery"

// atOnce is how many services the table takes under the store's lock at once:
// some milliseconds, for which other clusters' news wait. 100,000 would take
// half a second.
const atOnce = 1000

// ahead leads the table towards a part that is about to be taken, some services
// at a time, and leaves in u what is still to be done with the commit. Readers
// see a part come record by record in any case. It tells whether the table is
// ahead of what is held, and ends early when that changes meanwhile.
func (s *store) ahead(h *head, base *part, rules *Import, u *discovery.Update) (began bool) {
	for len(u.Services) > atOnce && s.someAhead(h, base, rules, u) {
		began = true
	}
	return began
}

func (s *store) someAhead(h *head, base *part, rules *Import, u *discovery.Update) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.clusters[h.Cluster]
	current, version := emptyPart, discovery.Version{}
	if have != nil {
		current, version = have.part, have.head.version()
	}
	if s.checkLocked(have, h) != nil || s.knowsLocked(have, h) || h.Retired || have != nil && have.head.Retired ||
		current != base || rules != s.imports.Load() {
		return false
	}
	// With its record first: a service without one has no gateways.
	s.table.Apply(h.Cluster, discovery.Update{Cluster: u.Cluster, Services: u.Services[:atOnce]}, version)
	u.Cluster, u.Services = nil, u.Services[atOnce:]
	return true
}

// backLocked leads the table back to what is held of a cluster.
func (s *store) backLocked(cluster string) {
	have := s.clusters[cluster]
	if have == nil || have.head.Retired {
		s.table.Drop(cluster)
		return
	}
	s.table.Apply(cluster, s.whole(cluster, have.part), have.head.version())
}

// whole leads the table to a part, whatever it has of the cluster.
func (s *store) whole(cluster string, to *part) discovery.Update {
	u := s.update(cluster, emptyPart, to)
	u.Whole, u.Removed = true, nil
	return u
}
