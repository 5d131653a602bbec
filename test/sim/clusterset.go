package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
)

// watchersPerCluster is what the issue asks for.
const watchersPerCluster = 2

// seeds is how many watchers all others are told to join.
const seeds = 3

// startWithin is the time over which watchers come up.
const startWithin = 2 * time.Second

// Clusterset is all clusters and their network.
type Clusterset struct {
	Net      *Network
	Clusters []*Cluster
	Watchers []*Watcher

	rng    *rand.Rand // the load's
	join   []string
	shared *replica.Shared
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// NewClusterset makes clusters of so many services each. Nothing runs yet.
func NewClusterset(clusters, services int, link Link, seed uint64) (*Clusterset, error) {
	s := &Clusterset{Net: NewNetwork(link, seed), rng: rand.New(rand.NewPCG(seed, 2)), shared: replica.NewShared()}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for i := range min(seeds, clusters) {
		s.join = append(s.join, address(i, 0))
	}
	for i := range clusters {
		c, err := newCluster(i, services, s.rng)
		if err != nil {
			return nil, err
		}
		for k := range watchersPerCluster {
			w, err := s.newWatcher(c, k)
			if err != nil {
				return nil, err
			}
			c.Watchers = append(c.Watchers, w)
			s.Watchers = append(s.Watchers, w)
		}
		s.Clusters = append(s.Clusters, c)
	}
	return s, nil
}

func address(cluster, watcher int) string {
	return fmt.Sprintf("10.%d.%d.%d:7946", cluster>>8, cluster&255, watcher+1)
}

// Start brings all watchers up.
func (s *Clusterset) Start() {
	for _, c := range s.Clusters {
		for _, w := range c.Watchers {
			after := time.Duration(s.rng.Int64N(int64(startWithin)))
			s.wg.Go(func() {
				time.Sleep(after)
				w.publisher.Update(c.whole())
				w.run(s.ctx)
			})
		}
		c.Watchers[c.leader].lead(s.ctx, &s.wg)
	}
}

// replace kills a cluster's k-th watcher, which does not lead, and starts
// another in its place.
func (s *Clusterset) replace(c *Cluster, k int) error {
	old := c.Watchers[k]
	s.Net.Unplug(old.Port)
	old.stop()
	w, err := s.newWatcher(c, k)
	if err != nil {
		return err
	}
	c.Watchers[k] = w
	s.Watchers[slices.Index(s.Watchers, old)] = w
	w.publisher.Update(c.whole())
	s.wg.Go(func() { w.run(s.ctx) })
	return nil
}

// Stop ends all and waits.
func (s *Clusterset) Stop() {
	s.cancel()
	s.wg.Wait()
	// memberlist's Shutdown leaves probes behind; the longest takes eight
	// probe intervals.
	time.Sleep(5 * time.Minute)
}

// Equal tells whether all tables show the same versions of all clusters.
func (s *Clusterset) Equal() bool {
	first := s.Watchers[0].Table.Clusters()
	if len(first) != len(s.Clusters) {
		return false
	}
	for _, w := range s.Watchers[1:] {
		if !sameVersions(first, w.Table.Clusters()) {
			return false
		}
	}
	return true
}

func sameVersions(a, b []discovery.ClusterState) bool {
	return slices.EqualFunc(a, b, func(a, b discovery.ClusterState) bool {
		return a.Cluster.Name == b.Cluster.Name && a.Version == b.Version && a.Services == b.Services
	})
}

// Together tells whether all watchers are members to one another.
func (s *Clusterset) Together() bool {
	return !slices.ContainsFunc(s.Watchers, func(w *Watcher) bool { return len(w.pool.Members()) != len(s.Watchers) })
}

// AwaitEqual waits until Equal and tells how long that took. It is false when
// patience ends first.
func (s *Clusterset) AwaitEqual(patience time.Duration) (time.Duration, bool) {
	begun := time.Now()
	for !s.Equal() {
		if time.Since(begun) >= patience {
			return time.Since(begun), false
		}
		time.Sleep(pollEvery)
	}
	return time.Since(begun), true
}

// Correct is an error when some watcher's table shows a service otherwise than
// its cluster has it.
func (s *Clusterset) Correct() error {
	for _, c := range s.Clusters {
		for i, want := range c.ready {
			ch := &change{key: c.serviceKey(i), cluster: c.Name}
			for _, w := range s.Watchers {
				if got := ch.shown(w.Table); got != want {
					return fmt.Errorf("%s shows %d ready endpoints of %s in %s, want %d", w.Name, got, ch.key, c.Name, want)
				}
			}
		}
	}
	return nil
}
