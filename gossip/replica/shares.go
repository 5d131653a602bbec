package replica

import (
	"sync"

	"golang.org/x/time/rate"
)

// Bounds on the pulls of one cluster that a watcher answers, so that others
// find a place. Whoever is refused asks another peer after a pause.
const (
	// clusterPulls at once: twice what one watcher asks for at once, for its
	// two or three watchers.
	clusterPulls = 8
	// ownPulls at once are for our own cluster, of whose agents there may be
	// thousands that have only us.
	ownPulls = servedPulls - clusterPulls
	// pullBurst is the parts of a thousand clusters for three watchers that
	// start; pullRate, a second, is for changes that are too large for messages.
	pullBurst = 3000
	pullRate  = 50
	// idleShares is how many clusters are remembered that pull nothing now.
	idleShares = 2000
)

// shares divides pulls among clusters.
type shares struct {
	own string // our cluster

	mu        sync.Mutex
	byCluster map[string]*share // guarded by mu
}

// share is one cluster's.
type share struct {
	running int
	rate    *rate.Limiter
}

func newShares(own string) *shares { return &shares{own: own, byCluster: map[string]*share{}} }

// enter takes a place for a cluster's pull, if it may have one more.
func (s *shares) enter(cluster string) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.byCluster[cluster]
	if c == nil {
		s.tidyLocked()
		c = &share{rate: rate.NewLimiter(pullRate, pullBurst)}
		s.byCluster[cluster] = c
	}
	most := clusterPulls
	if cluster == s.own {
		most = ownPulls
	}
	if c.running >= most || cluster != s.own && !c.rate.Allow() {
		return nil, false
	}
	c.running++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		c.running--
	}, true
}

// tidyLocked forgets clusters that pull nothing, when there are many. Their
// names come from certificates, so that nobody can make many up.
func (s *shares) tidyLocked() {
	if len(s.byCluster) < idleShares {
		return
	}
	for cluster, c := range s.byCluster {
		if c.running == 0 {
			delete(s.byCluster, cluster)
		}
	}
}
