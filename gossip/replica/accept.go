package replica

import (
	"fmt"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// outcome says what an announcement did.
type outcome int

const (
	old     outcome = iota // nothing new: drop
	beaten                 // the same version, a later heartbeat
	applied                // a newer version, and the table has it
	gap                    // a newer version that must be pulled
)

// accept takes an announcement from anywhere. The head is returned for
// outcomes other than old.
func (s *store) accept(a *wire.Announcement) (*head, outcome, error) {
	w, err := parse(s.clusterset, s.limits, a.GetHead())
	if err != nil || s.heads.stale(w) || s.denies(w.Cluster) {
		return nil, old, err
	}
	h, err := verify(s.identity, w, a.Head)
	if err != nil {
		return nil, old, err
	}
	var changed []item
	if a.Delta != nil {
		if changed, err = s.items(a.Delta.Changed); err != nil {
			return nil, old, fmt.Errorf("cluster %s: %w", h.Cluster, err)
		}
	}
	ready := s.prepare(h, a.Delta, changed)
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.clusters[h.Cluster]
	if err := s.checkLocked(have, h); err != nil {
		return nil, old, err
	}
	if s.knowsLocked(have, h) || !s.accepts(h.Cluster) { // the rules may have changed meanwhile
		return nil, old, nil
	}
	return s.advanceLocked(have, h, a.Delta, changed, ready)
}

// knowsLocked tells whether a head says nothing beyond what we have, or what
// we had of a cluster that is forgotten.
func (s *store) knowsLocked(have *replicaPart, h *head) bool {
	if have != nil {
		return have.head.Uid == h.Uid && !h.newerThan(have.head)
	}
	grave := s.heads.grave(h.Cluster)
	return grave != nil && grave.Uid == h.Uid && !h.newerThan(grave)
}

// advanceLocked goes to a head that is news, if what is there leads to it.
func (s *store) advanceLocked(have *replicaPart, h *head, d *wire.Delta, changed []item, ready *prepared) (*head, outcome, error) {
	base := emptyPart
	if have != nil {
		base = have.part
	}
	switch {
	case h.Retired:
		s.commitLocked(h, emptyPart, discovery.Update{})
		return h, applied, nil
	case have != nil && have.head.Retired: // it came back, or another one under its name
		have = nil
	case have != nil && have.head.Uid != h.Uid:
		return h, gap, nil
	case have != nil && h.version() == have.head.version():
		s.setHeadLocked(have, h)
		return h, beaten, nil
	}
	if base.root == h.root {
		// A new epoch after a restart, mostly: another version, the same content.
		s.commitLocked(h, base, discovery.Update{})
		return h, applied, nil
	}
	to := s.stepLocked(have, base, h, d, changed, ready)
	if to.err != nil {
		return nil, old, fmt.Errorf("cluster %s: %w", h.Cluster, to.err)
	}
	if to.next == nil {
		return h, gap, nil
	}
	s.commitLocked(h, to.next, to.update)
	return h, applied, nil
}

// nextPart applies a delta, if there is one that leads from what we have to
// the head. Nil without an error means that a pull is needed.
func nextPart(have *replicaPart, h *head, d *wire.Delta, changed []item, limits Limits) (*part, error) {
	base := emptyPart
	follows := d != nil && h.Seq > d.BaseSeq
	if have != nil {
		base = have.part
		follows = follows && have.head.Epoch == h.Epoch && have.head.Seq == d.BaseSeq
	} else {
		follows = follows && d.BaseSeq == 0
	}
	if !follows {
		return nil, nil
	}
	next := base.with(changed, d.Removed)
	if next.root != h.root || next.items != int(h.Items) {
		return nil, nil // the pull will show who is wrong
	}
	if next.bytes > limits.PartBytes {
		return nil, errTooLarge
	}
	return next, nil
}

// items bounds and hashes the items of a message.
func (s *store) items(in []*wire.Item) ([]item, error) {
	out := make([]item, 0, len(in))
	for _, it := range in {
		if len(it.GetKey()) == 0 || len(it.GetKey()) > maxKey {
			return nil, fmt.Errorf("item with a key of %d octets: %w", len(it.GetKey()), errMalformed)
		}
		if len(it.GetValue()) > s.limits.RecordBytes {
			return nil, fmt.Errorf("item %s of %d octets: %w", clip(it.GetKey()), len(it.GetValue()), errTooLarge)
		}
		out = append(out, newItem(it.GetKey(), it.GetValue()))
	}
	return out, nil
}
