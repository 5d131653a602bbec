package replica

import (
	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

const (
	// largeItems and largeOctets are from where on a part's deltas are applied
	// aside. Items may all lie in one bucket, which is hashed anew, and a quota
	// that does not suffice for all looks at each: with what a part may have at
	// most either takes a tenth of a second, for which other clusters' news
	// would wait.
	largeItems  = 10_000
	largeOctets = 4 << 20
)

// prepared is a delta's step from a large part, made without the store's lock.
type prepared struct {
	base    *part
	version discovery.Version
	rules   *Import
	step
}

// step is where a delta leads: a part, and what leads the table there; no part
// and no error when a pull is needed.
type step struct {
	next   *part
	update discovery.Update
	err    error
}

// prepare makes a delta's step if it may take long, else nil.
func (s *store) prepare(h *head, d *wire.Delta, changed []item) *prepared {
	if d == nil {
		return nil
	}
	s.mu.Lock()
	have := s.clusters[h.Cluster]
	if have == nil || have.part.items < largeItems && have.part.bytes < largeOctets {
		s.mu.Unlock()
		return nil
	}
	was := *have
	s.mu.Unlock()
	if was.head.Retired || h.Retired || was.head.Uid != h.Uid || s.knowsLocked(&was, h) || was.part.root == h.root {
		return nil // no step
	}
	rules := s.imports.Load()
	return &prepared{was.part, was.head.version(), rules, s.step(&was, was.part, h, d, changed)}
}

// stepLocked is what was prepared, unless something has changed meanwhile. What
// the delta does not follow any more costs nothing.
func (s *store) stepLocked(have *replicaPart, base *part, h *head, d *wire.Delta, changed []item, ready *prepared) step {
	if ready != nil && have != nil && ready.base == base && ready.version == have.head.version() && ready.rules == s.imports.Load() {
		return ready.step
	}
	return s.step(have, base, h, d, changed)
}

func (s *store) step(have *replicaPart, base *part, h *head, d *wire.Delta, changed []item) step {
	next, err := nextPart(have, h, d, changed, s.limits)
	if err != nil || next == nil {
		return step{err: err}
	}
	return step{next: next, update: s.update(h.Cluster, base, next)}
}
