package crash

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

// folders are clusters with folders of manifests.
func folders(t *testing.T, names ...string) *cluster.Set {
	t.Helper()
	var specs []cluster.Spec
	for _, name := range names {
		specs = append(specs, cluster.Spec{Name: name, Debug: true})
	}
	s := cluster.Make(t, specs...)
	s.Start()
	return s
}

// TestOnlyWatcherKilled kills east's one watcher while its manifests change:
// at random moments, at once when it has taken an epoch, and at a publication.
// Now and then an agent dies as well.
func TestOnlyWatcherKilled(t *testing.T) {
	s := folders(t, "west", "central", "east")
	west, east := s.Clusters[0], s.Clusters[2]
	sc := newScene(t, s, "east", folder{east})
	kills := of(6, 100)
	for n := range kills {
		sc.load.burst(true)
		p := east.Watcher
		from := size(t, p)
		switch n % 3 {
		case 0: // at random
			time.Sleep(sc.between(0, time.Second))
		case 1: // between a publication and its way to others
			sc.logged(p, from, `"msg":"part committed"`, `"cluster":"east"`)
			time.Sleep(sc.between(0, time.Millisecond))
		case 2: // between an epoch and its first publication
			p.Kill()
			p.Start()
			sc.logged(p, from, `"msg":"publishing"`)
			time.Sleep(sc.between(0, 2*time.Millisecond))
		}
		p.Kill()
		if n%4 == 3 {
			sc.killAgent(west)
			sc.killAgent(east)
		}
		time.Sleep(sc.between(0, 300*time.Millisecond))
		p.Start()
		sc.load.burst(false)
		eventually(t, "the watcher publishes again", func() bool { return leads(east.Watchers[0]) })
	}
	sc.judge()
	require.Greater(t, east.Epoch(), uint64(kills/2), "most lives have taken an epoch")
}

// killAgent kills an agent and starts it again.
func (sc *scene) killAgent(c *cluster.Cluster) {
	sc.Helper()
	c.Agent.Kill()
	sc.onDisk(c)
	c.Agent.Start()
}
