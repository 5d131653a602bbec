package replica

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// heads are the current heads of a store. Their lock is held for moments only,
// so that who asks for a version does not wait while a large part is taken.
type heads struct {
	mu        sync.Mutex
	byCluster map[string]*head // guarded by mu
	// graves are the last heads of clusters that are forgotten: peers that have
	// not forgotten them yet must not bring them back. They are not passed on.
	graves    map[string]*head // guarded by mu
	maxGraves int
	// heard is when news of a cluster came last, by our monotonic clock; only of
	// those in byCluster. Guarded by mu.
	heard map[string]time.Time
}

// hear notes that a cluster was alive just now. What its watchers say of time
// counts for nothing: no clock of another machine is ever compared with ours.
func (hs *heads) hear(cluster string) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.byCluster[cluster] != nil {
		hs.heard[cluster] = time.Now()
	}
}

// lastHeard is when news of a cluster came last; false if none has come since
// this process began.
func (hs *heads) lastHeard(cluster string) (time.Time, bool) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	at, ok := hs.heard[cluster]
	return at, ok
}

func (hs *heads) set(h *head) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.byCluster[h.Cluster] = h
	delete(hs.graves, h.Cluster)
}

// bury drops a cluster's head and remembers that it is forgotten.
func (hs *heads) bury(cluster string) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h := hs.byCluster[cluster]
	delete(hs.byCluster, cluster)
	delete(hs.heard, cluster)
	for other := range hs.graves {
		if len(hs.graves) < hs.maxGraves {
			break
		}
		delete(hs.graves, other) // any: its peers forget it too
	}
	hs.graves[cluster] = h
}

// grave is the last head of a cluster that is forgotten, nil for others.
func (hs *heads) grave(cluster string) *head {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return hs.graves[cluster]
}

// buried are the clusters that are forgotten.
func (hs *heads) buried() []string {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return slices.Sorted(maps.Keys(hs.graves))
}

func (hs *heads) drop(cluster string) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	delete(hs.byCluster, cluster)
	delete(hs.heard, cluster)
}

// get is a cluster's head, nil if it is unknown.
func (hs *heads) get(cluster string) *head {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return hs.byCluster[cluster]
}

// all are the heads by cluster name.
func (hs *heads) all() []*head {
	hs.mu.Lock()
	out := slices.Collect(maps.Values(hs.byCluster))
	hs.mu.Unlock()
	slices.SortFunc(out, func(a, b *head) int { return strings.Compare(a.Cluster, b.Cluster) })
	return out
}

// stale tells whether a head that is not verified says nothing that we don't
// know. Most messages come many times, and a signature's check costs a hundred
// times more than this. What contradicts us is not stale, but to be refused.
func (hs *heads) stale(w *wire.Head) bool {
	have := hs.get(w.Cluster)
	if have == nil || have.Uid != w.Uid {
		return false
	}
	if v := (discovery.Version{Epoch: w.Epoch, Seq: w.Seq}); v != have.version() {
		return v.Less(have.version())
	}
	return bytes.Equal(w.Root, have.root[:]) && w.Heartbeat <= have.Heartbeat
}
