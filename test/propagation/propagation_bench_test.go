package propagation

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

const (
	// changes are made in one run of a benchmark, as many of each kind.
	changes = 200
	// apart is the shortest time between two changes that have nothing to do
	// with each other; up to as much again is added by chance. Publishers
	// gather what follows a change within 100 ms.
	apart = 110 * time.Millisecond
	// together changes fall into the same 100 ms when they collide.
	together = 4
	within   = 100 * time.Millisecond
	// alone changes come between two collisions: one change in ten collides.
	alone = 9 * together
	// background is the number of services that east has all the time.
	background = 100
)

// BenchmarkPropagation measures changes that come one by one.
func BenchmarkPropagation(b *testing.B) {
	r := start(b)
	only := &track{name: "one"}
	for b.Loop() {
		for range changes {
			r.makeOne(only)
		}
	}
	r.report("changes one by one")
}

// BenchmarkPropagationColliding measures changes of which one in ten comes
// within the same 100 ms as three others, of other services.
func BenchmarkPropagationColliding(b *testing.B) {
	r := start(b)
	tracks := make([]*track, together)
	for i := range tracks {
		tracks[i] = &track{name: fmt.Sprintf("track-%d", i)}
	}
	for b.Loop() {
		for range changes / (alone + together) {
			for range alone {
				r.makeOne(tracks[r.random.IntN(len(tracks))])
			}
			r.makeTogether(tracks)
		}
	}
	r.report("one change in ten among others within 100 ms")
}

// run is one run of a benchmark.
type run struct {
	b          *testing.B
	west, east *cluster.Cluster
	random     *rand.Rand
	delays     delays
}

// start starts three clusters, of which east has some services already.
func start(b *testing.B) *run {
	s := cluster.New(b, "west", "central", "east")
	r := &run{b: b, west: s.Clusters[0], east: s.Clusters[2], random: rand.New(rand.NewPCG(1, 2))}
	for i := range background {
		r.east.Export(cluster.Service{Namespace: "background", Name: fmt.Sprintf("service-%d", i), Ready: 3})
	}
	s.Start()
	return r
}

func (r *run) makeOne(t *track) {
	r.pause()
	c := t.next(r.east)
	took, err := c.measure(r.west, r.east)
	require.NoError(r.b, err)
	r.delays.add(c.kind, took)
}

func (r *run) makeTogether(tracks []*track) {
	r.pause()
	var g errgroup.Group
	for _, t := range tracks {
		c, later := t.next(r.east), time.Duration(r.random.Int64N(int64(within)))
		g.Go(func() error {
			time.Sleep(later)
			took, err := c.measure(r.west, r.east)
			r.delays.add(c.kind, took)
			return err
		})
	}
	require.NoError(r.b, g.Wait())
}

// report prints the distribution and gives the benchmark its metrics; time per
// run means nothing here.
func (r *run) report(what string) {
	all := r.delays.all()
	r.b.ReportMetric(milliseconds(quantile(all, 0.5)), "p50-ms")
	r.b.ReportMetric(milliseconds(quantile(all, 0.99)), "p99-ms")
	r.b.ReportMetric(0, "ns/op")
	fmt.Printf("\n%s\n%s", what, &r.delays)
}

// pause lets some time pass between changes: it is the load, not a wait.
func (r *run) pause() { time.Sleep(apart + time.Duration(r.random.Int64N(int64(apart)))) }
