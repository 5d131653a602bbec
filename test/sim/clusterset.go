package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// watchersPerCluster is DESIGN's usual number.
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
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// NewClusterset makes clusters of so many services each. Nothing runs yet.
func NewClusterset(clusters, services int, link Link, seed uint64) (*Clusterset, error) {
	s := &Clusterset{Net: NewNetwork(link, seed), rng: rand.New(rand.NewPCG(seed, 2))}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	var join []string
	for i := range min(seeds, clusters) {
		join = append(join, address(i, 0))
	}
	for i := range clusters {
		c := newCluster(i, services, s.rng)
		identity, err := trust.Insecure(trust.ID{Clusterset: "sim", Cluster: c.Name, Role: trust.Watcher})
		if err != nil {
			return nil, err
		}
		for k := range watchersPerCluster {
			w, err := newWatcher(s.Net, c, fmt.Sprintf("w%d.%s", k, c.Name), address(i, k), join, identity)
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
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Cluster.Name != b[i].Cluster.Name || a[i].Version != b[i].Version || a[i].Services != b[i].Services {
			return false
		}
	}
	return true
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
