package replica

import (
	"fmt"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// expect checks the head of a pull's answer.
func (s *store) expect(cluster string, signed *wire.SignedHead) (*head, error) {
	w, err := parse(s.clusterset, s.limits, signed)
	if err != nil {
		return nil, err
	}
	if w.Cluster != cluster {
		return nil, fmt.Errorf("cluster %s: answer is about %s: %w", cluster, w.Cluster, errMalformed)
	}
	return verify(s.identity, w, signed)
}

// adopt takes a part that a pull for the named cluster brought, built on the
// given base.
func (s *store) adopt(cluster string, got *pulled, base *part) (*head, outcome, error) {
	if s.denies(cluster) {
		return nil, old, nil // from our disk, or the rules have changed since it was wanted
	}
	h, err := s.expect(cluster, got.head)
	if err != nil {
		return nil, old, err
	}
	next, ok := base.replace(got.buckets, got.items)
	if !ok || next.root != h.root || next.items != int(h.Items) {
		return nil, old, fmt.Errorf("cluster %s: %w", cluster, errRoot)
	}
	if next.bytes > s.limits.PartBytes {
		return nil, old, fmt.Errorf("cluster %s: %w", cluster, errTooLarge)
	}
	rules := s.imports.Load()
	update := s.update(cluster, base, next) // which takes long for a large part
	began := s.ahead(h, base, rules, &update)
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.clusters[h.Cluster]
	// The rules may have changed while the part was decoded, too.
	if err := s.checkLocked(have, h); err != nil || s.knowsLocked(have, h) || !s.accepts(cluster) {
		if began {
			s.backLocked(cluster)
		}
		return nil, old, err
	}
	current := emptyPart
	if have != nil {
		current = have.part
	}
	switch changed := current != base || rules != s.imports.Load(); {
	case changed && began:
		update = s.whole(cluster, next)
	case changed:
		update = s.update(cluster, current, next)
	}
	s.commitLocked(h, next, update)
	return h, applied, nil
}
