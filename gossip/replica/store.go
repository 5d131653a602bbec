package replica

import (
	"fmt"
	"sync"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// store holds each cluster's part with its head and keeps the table in step.
// It is the only writer of the table. Methods are safe for concurrent use;
// signatures are checked before its lock is taken.
type store struct {
	identity   *trust.Identity
	clusterset string
	limits     Limits
	table      *discovery.Table
	refuse     func(cluster string, err error) // records that a cluster will miss; counts and logs
	// follows is set for agents: which of two clusters has a name is for their
	// watcher to say, and who missed the change must not stay with the first.
	follows bool

	heads heads // of clusters; changed under mu

	mu       sync.Mutex
	clusters map[string]*replicaPart // guarded by mu
	uid      string                  // our own cluster's, "" until claimed; guarded by mu
}

// replicaPart is one cluster's part as this process has it.
type replicaPart struct {
	part *part
	head *head
}

func newStore(identity *trust.Identity, clusterset string, limits Limits, table *discovery.Table, refuse func(string, error)) *store {
	return &store{
		identity: identity, clusterset: clusterset, limits: limits, table: table, refuse: refuse,
		clusters: map[string]*replicaPart{}, heads: heads{byCluster: map[string]*head{}},
	}
}

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
	if err != nil || s.heads.stale(w) {
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
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.clusters[h.Cluster]
	if err := s.checkLocked(have, h); err != nil {
		return nil, old, err
	}
	switch {
	case have != nil && have.head.Uid != h.Uid:
		return h, gap, nil
	case have != nil && !h.newerThan(have.head):
		return nil, old, nil
	case have != nil && h.version() == have.head.version():
		s.setHeadLocked(have, h)
		return h, beaten, nil
	case have != nil && have.part.root == h.root:
		// A new epoch after a restart, mostly: another version, the same content.
		s.commitLocked(h, have.part, discovery.Update{})
		return h, applied, nil
	}
	next, err := nextPart(have, h, a.Delta, changed, s.limits)
	if err != nil {
		return nil, old, fmt.Errorf("cluster %s: %w", h.Cluster, err)
	}
	if next == nil {
		return h, gap, nil
	}
	base := emptyPart
	if have != nil {
		base = have.part
	}
	s.commitLocked(h, next, s.update(h.Cluster, base, next))
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

// checkLocked refuses heads that contradict what we have.
func (s *store) checkLocked(have *replicaPart, h *head) error {
	if s.uid != "" && h.Cluster == s.identity.ID().Cluster && h.Uid != s.uid {
		return fmt.Errorf("cluster %s: uid %q, but ours is %q: %w", h.Cluster, clip(h.Uid), s.uid, errCloned)
	}
	if have == nil {
		if len(s.clusters) >= s.limits.Clusters {
			return fmt.Errorf("cluster %s: %w", h.Cluster, errTooMany)
		}
		return nil
	}
	if have.head.Uid != h.Uid {
		if s.follows {
			return nil
		}
		return fmt.Errorf("cluster %s: uid %q, but %q holds the name: %w", h.Cluster, clip(h.Uid), clip(have.head.Uid), errCloned)
	}
	if have.head.version() == h.version() && have.head.root != h.root {
		return fmt.Errorf("cluster %s: epoch %d seq %d: %w", h.Cluster, h.Epoch, h.Seq, errEquivocate)
	}
	return nil
}

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
	update := s.update(cluster, base, next) // which takes long for a large part
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.clusters[h.Cluster]
	if err := s.checkLocked(have, h); err != nil {
		return nil, old, err
	}
	if have != nil && have.head.Uid == h.Uid && !h.newerThan(have.head) {
		return nil, old, nil
	}
	current := emptyPart
	if have != nil {
		current = have.part
	}
	if current != base { // a message has changed it meanwhile
		update = s.update(cluster, current, next)
	}
	s.commitLocked(h, next, update)
	return h, applied, nil
}

// commitLocked makes a part the cluster's current one, here and in the table,
// where u leads to it.
func (s *store) commitLocked(h *head, to *part, u discovery.Update) {
	have := s.clusters[h.Cluster]
	if have == nil {
		have = &replicaPart{}
		s.clusters[h.Cluster] = have
	}
	have.part = to
	s.table.Apply(h.Cluster, u, h.version())
	s.setHeadLocked(have, h)
}

func (s *store) setHeadLocked(have *replicaPart, h *head) {
	have.head = h
	s.heads.set(h)
}

func (s *store) dropLocked(cluster string) {
	delete(s.clusters, cluster)
	s.heads.drop(cluster)
	s.table.Drop(cluster)
}

// update is what leads the table from one part to another. A record that does
// not decode or breaks a bound is left out, as if its service were not
// exported: it is the fault of its owner and harms nobody else.
func (s *store) update(cluster string, from, to *part) discovery.Update {
	var u discovery.Update
	changed, removed := diff(from, to)
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
			service, err := decodeService(key, it.value)
			if err != nil {
				s.refuse(cluster, fmt.Errorf("%s: %w", it.key, err))
				u.Removed = append(u.Removed, key)
				continue
			}
			u.Services = append(u.Services, service)
		}
	}
	for _, k := range removed {
		if key, ok := parseServiceKey(k); ok {
			u.Removed = append(u.Removed, key)
		}
	}
	return u
}

// get returns a cluster's head and its part; nil if unknown.
func (s *store) get(cluster string) (*head, *part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.clusters[cluster]
	if have == nil {
		return nil, nil
	}
	return have.head, have.part
}

// publish makes our own next head current; without parts, only the head moves.
// It fails when a peer has brought a newer head of ours, or when the part is
// not (or no longer) the one that the caller built on.
func (s *store) publish(h *head, from, to *part) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.clusters[h.Cluster]
	current := emptyPart
	if have != nil {
		current = have.part
	}
	switch {
	case have != nil && !h.newerThan(have.head):
		return errDeposed
	case to == nil && have == nil:
		return errDeposed
	case to == nil:
		s.setHeadLocked(have, h)
		return nil
	case from != current:
		return errDeposed
	}
	s.commitLocked(h, to, s.update(h.Cluster, from, to))
	return nil
}

// forget drops a cluster that the clusterset has dropped.
func (s *store) forget(cluster string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clusters[cluster] != nil {
		s.dropLocked(cluster)
	}
}

// claim sets our own cluster's uid. It fails when we took a part under our name
// with another uid, and drops that part.
func (s *store) claim(uid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uid = uid
	own := s.identity.ID().Cluster
	have := s.clusters[own]
	if have == nil {
		return nil
	}
	err := s.checkLocked(have, have.head)
	if err != nil {
		s.dropLocked(own)
	}
	return err
}

// owner is what was claimed.
func (s *store) owner() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uid
}
