package replica

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

const (
	// DefaultForget is how long a cluster may be silent before it is dropped: a
	// day leaves time to repair what broke at night.
	DefaultForget = 24 * time.Hour
	// MinForget is longer than any restart or failover takes.
	MinForget = 10 * time.Minute
	// sweepEvery is how soon after its time a cluster is dropped.
	sweepEvery = time.Minute
	// silentAfter is three heartbeats.
	silentAfter = 3 * heartbeat
	// together is how far apart clusters may turn silent by one cause: some
	// heartbeats, and what routers take to give up routes.
	together = 5 * time.Minute
	// rootGrace is how long a head stays that no root vouches for any more. A
	// cluster that has its new certificate signs anew with the next heartbeat;
	// Secrets take up to some minutes to reach all Pods.
	rootGrace = 10 * time.Minute
)

// sweep forgets the clusters that have been silent for too long, and returns
// them. When it is we who are cut off nothing is forgotten.
func (s *store) sweep(now time.Time, forget time.Duration) (gone []string, frozen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.identity.ID().Cluster
	var fresh []time.Time
	for cluster, have := range s.clusters {
		if cluster == own || have.head.Retired { // who is retired beats no more
			continue
		}
		fresh = append(fresh, have.fresh)
		if now.Sub(have.fresh) >= forget {
			gone = append(gone, cluster)
		}
	}
	if cutOff(fresh, now) {
		return nil, true
	}
	for _, cluster := range gone {
		s.clearLocked(cluster, s.clusters[cluster])
		delete(s.clusters, cluster)
		s.heads.bury(cluster)
	}
	slices.Sort(gone)
	return gone, false
}

// cutOff tells from the times when all other clusters were last heard of
// whether it is we who are cut off: more than half of those that were there
// turned silent together, and still are. The only other cluster of two is more
// than half of all others, so two clusters never forget each other.
func cutOff(fresh []time.Time, now time.Time) bool {
	slices.SortFunc(fresh, time.Time.Compare)
	for first, begin := range fresh {
		if now.Sub(begin) < silentAfter {
			return false
		}
		group := 0
		for _, at := range fresh[first:] {
			if at.Sub(begin) <= together && now.Sub(at) >= silentAfter {
				group++
			}
		}
		if there := len(fresh) - first; 2*group > there {
			return true
		}
	}
	return false
}

// recheck drops heads, with their parts, that no root has vouched for since a
// while: the root was removed from the bundle, as after a theft. Our own
// cluster's stays, because its names hang on no other cluster's trust.
func (s *store) recheck(now time.Time) (gone []string, doubted bool) {
	own := s.identity.ID().Cluster
	for _, h := range s.heads.all() {
		if h.Cluster == own {
			continue
		}
		_, err := verify(s.identity, h.Head, h.signed)
		s.mu.Lock()
		have := s.clusters[h.Cluster]
		switch {
		case have == nil || have.head != h:
		case err == nil:
			have.unvouched = time.Time{}
		case have.unvouched.IsZero():
			have.unvouched, doubted = now, true
		case now.Sub(have.unvouched) >= rootGrace:
			s.dropLocked(h.Cluster)
			gone = append(gone, h.Cluster)
		default:
			doubted = true
		}
		s.mu.Unlock()
	}
	return gone, doubted
}

// keeper drops what is not to be kept, for a watcher and for an agent.
type keeper struct {
	store   *store
	log     *slog.Logger
	forget  func() time.Duration
	dropped func(cluster, reason string) // told of each cluster that is dropped
	frozen  func(bool)                   // told at each look whether we are cut off

	roots   any  // that all heads were checked by
	doubted bool // some head was not vouched for by them
}

// run looks every minute until ctx ends.
func (k *keeper) run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for was := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := time.Now()
		k.recheck(now)
		gone, frozen := k.store.sweep(now, k.forget())
		for _, cluster := range gone {
			k.log.Warn("cluster forgotten", "cluster", cluster, "silent_for", k.forget().String())
			k.dropped(cluster, "silent")
		}
		if frozen && !was {
			k.log.Warn("most clusters turned silent together: we are cut off, and forget nobody")
		}
		was = frozen
		k.frozen(frozen)
	}
}

// recheck looks at the heads again when the roots have changed, and for as long
// as one is in doubt.
func (k *keeper) recheck(now time.Time) {
	roots := k.store.identity.Roots()
	if roots == k.roots && !k.doubted {
		return
	}
	gone, doubted := k.store.recheck(now)
	k.roots, k.doubted = roots, doubted
	for _, cluster := range gone {
		k.log.Warn("cluster dropped: no trusted root vouches for it any more", "cluster", cluster)
		k.dropped(cluster, "root")
	}
}

// keep runs the watcher's keeper and tells agents.
func (r *Replica) keep(ctx context.Context) error {
	k := &keeper{
		store: r.store, log: r.log, forget: func() time.Duration { return r.config.Forget },
		dropped: func(cluster, reason string) {
			r.metrics.dropped.WithLabelValues(reason).Inc()
			r.feed.forget(cluster)
		},
		frozen: func(frozen bool) {
			r.metrics.frozen.Set(0)
			if frozen {
				r.metrics.frozen.Set(1)
			}
		},
	}
	return k.run(ctx)
}

// forget tells all streams that a cluster was dropped, instead of what they
// have not been told of it yet.
func (f *feed) forget(cluster string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for m := range f.boxes {
		m.set(cluster, forgetting(cluster))
	}
}

func forgetting(cluster string) *wire.StreamMessage {
	return &wire.StreamMessage{Body: &wire.StreamMessage_Forget{Forget: &wire.Forget{Cluster: cluster}}}
}

// needless tells whether a version that a peer claims is one that we have
// forgotten, or of a cluster that is not accepted. It waits for nobody.
func (s *store) needless(cluster string, v discovery.Version) bool {
	if !s.accepts(cluster) {
		return true
	}
	grave := s.heads.grave(cluster)
	return grave != nil && !grave.version().Less(v)
}

// keep forgets as our watcher does: what it forgot while we were not connected
// it may not know any more.
func (s *Subscriber) keep(ctx context.Context) error {
	k := &keeper{
		store: s.store, log: s.log, forget: func() time.Duration { return time.Duration(s.forget.Load()) },
		dropped: func(string, string) { s.dirty.Store(true) }, frozen: func(bool) {},
	}
	return k.run(ctx)
}
