package replica

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
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
	omit       func(err error)                 // what import rules leave out; counts
	log        *slog.Logger                    // of what is committed; its user's
	// follows is set for agents: which of two clusters has a name is for their
	// watcher to say, and who missed the change must not stay with the first.
	follows bool
	shared  *Shared // nil: nothing is shared

	heads   heads                  // of clusters; changed under mu
	imports atomic.Pointer[Import] // never nil; changed under mu
	noted   notes                  // what the log has of what imports leaves out

	mu       sync.Mutex
	clusters map[string]*replicaPart // guarded by mu
	uid      string                  // our own cluster's, "" until claimed; guarded by mu
}

// replicaPart is one cluster's part as this process has it.
type replicaPart struct {
	part  *part // as the owner made it, whatever of it is accepted
	head  *head
	fresh time.Time // when the head came, by our monotonic clock
	// unvouched is since when no root vouches for the head any more; zero if
	// one does.
	unvouched time.Time
}

func newStore(identity *trust.Identity, clusterset string, limits Limits, table *discovery.Table, refuse func(string, error)) *store {
	s := &store{
		identity: identity, clusterset: clusterset, limits: limits, table: table, refuse: refuse,
		omit: func(error) {}, log: slog.New(slog.DiscardHandler),
		clusters: map[string]*replicaPart{},
		heads:    heads{byCluster: map[string]*head{}, graves: map[string]*head{}, heard: map[string]time.Time{}, maxGraves: limits.Clusters},
	}
	s.imports.Store(&Import{})
	table.Prefer(identity.ID().Cluster)
	return s
}

// commitLocked makes a part the cluster's current one, here and in the table,
// where u leads to it. A retired cluster leaves the table.
func (s *store) commitLocked(h *head, to *part, u discovery.Update) {
	have := s.clusters[h.Cluster]
	if have == nil {
		have = &replicaPart{part: emptyPart}
		s.clusters[h.Cluster] = have
	}
	logCommit(s.log, h, have.part, to)
	logRetirement(s.log, h, have.head)
	s.shared.part(have.part, to)
	if h.Retired {
		s.clearLocked(h.Cluster, have)
	} else {
		s.table.Apply(h.Cluster, u, h.version())
	}
	have.part = to
	s.setHeadLocked(have, h)
}

func (s *store) setHeadLocked(have *replicaPart, h *head) {
	have.head, have.fresh, have.unvouched = h, time.Now(), time.Time{}
	s.heads.set(h)
}

func (s *store) dropLocked(cluster string) {
	s.log.Debug("part dropped", "cluster", cluster)
	s.clearLocked(cluster, s.clusters[cluster])
	delete(s.clusters, cluster)
	s.heads.drop(cluster)
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
	case have != nil && have.head.Retired && have.head.Uid == h.Uid:
		return errRetired
	case have != nil && !h.newerThan(have.head):
		return errDeposed
	case to == nil && have == nil:
		return errDeposed
	case to == nil:
		s.setHeadLocked(have, h)
		s.heads.hear(h.Cluster)
		return nil
	case from != current:
		return errDeposed
	}
	s.commitLocked(h, to, s.update(h.Cluster, from, to))
	s.heads.hear(h.Cluster)
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
