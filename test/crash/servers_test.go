package crash

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/cluster"
	"github.com/isthmus-dns/isthmus/test/history"
	"github.com/isthmus-dns/isthmus/test/kubetest"
)

// elected are west and central with folders, and east with an API server and
// two watchers that compete for its Lease.
func elected(t *testing.T) (*scene, *kubetest.Cluster) {
	t.Helper()
	kube := kubetest.Start(t)
	to := newServer(t, kube)
	config := filepath.Join(t.TempDir(), "kubeconfig")
	kube.WriteKubeconfig(config, kube.Token("isthmus", "isthmus-watcher"))
	s := cluster.Make(t,
		cluster.Spec{Name: "west", Debug: true}, cluster.Spec{Name: "central", Debug: true},
		cluster.Spec{Name: "east", Debug: true, Watchers: 2, Source: "kubernetes: {kubeconfig: " + config + ", namespace: isthmus}"})
	to.c = s.Clusters[2]
	for _, c := range s.Clusters {
		for _, w := range c.Watchers {
			w.Start()
		}
		c.Agent.Start()
	}
	return newScene(t, s, "east", to), kube
}

// leader waits until one of east's two watchers says that it publishes, and
// the other does not.
func (sc *scene) leader() (leader, other *cluster.Watcher) {
	sc.Helper()
	w := sc.set.Clusters[2].Watchers
	eventually(sc.T, "one watcher of east publishes", func() bool {
		a, b := leads(w[0]), leads(w[1])
		leader, other = w[0], w[1]
		if b {
			leader, other = w[1], w[0]
		}
		return a != b
	})
	return leader, other
}

// TestLeaderKilled kills the leader of two watchers on an API server while
// services change: at random moments of a burst, at a publication, and when it
// has just taken its epoch. It is started again at once, or when the other has
// taken over.
func TestLeaderKilled(t *testing.T) {
	sc, _ := elected(t)
	kills := of(10, 200)
	for n := 0; n < kills; n++ {
		leader, other := sc.leader()
		sc.load.burst(true)
		switch n % 5 {
		case 0, 3:
			sc.killAtRandom(leader)
		case 1, 4:
			sc.killAtPublication(leader)
		case 2:
			sc.killAtRandom(leader)
			from := size(t, leader.Process)
			leader.Start()
			sc.logged(leader.Process, from, `"msg":"publishing"`)
			time.Sleep(sc.between(0, 2*time.Millisecond))
			leader.Kill()
			n++
		}
		if sc.rand.IntN(4) == 0 {
			sc.killAgent(sc.set.Clusters[sc.rand.IntN(3)])
		}
		if n%5 == 4 {
			sc.load.burst(false)
			eventually(t, "the other watcher takes over", func() bool { return leads(other) })
			sc.load.burst(true)
			time.Sleep(sc.between(0, 200*time.Millisecond))
		}
		leader.Start()
		sc.load.burst(false)
	}
	sc.judge()
}

// TestLeaderStopped ends the leader as the kubelet does, in the middle of a
// burst: it gives the Lease up, and the other one publishes at once what it has
// seen itself. That must not be less than what the old leader had published.
func TestLeaderStopped(t *testing.T) {
	sc, _ := elected(t)
	for range of(5, 100) {
		leader, other := sc.leader()
		sc.load.burst(true)
		time.Sleep(sc.between(0, 500*time.Millisecond))
		leader.Stop()
		eventually(t, "the other watcher takes over", func() bool { return leads(other) })
		time.Sleep(sc.between(0, 200*time.Millisecond))
		leader.Start()
		sc.load.burst(false)
	}
	sc.judge()
}

// killAtRandom kills at a random moment of a burst.
func (sc *scene) killAtRandom(w *cluster.Watcher) {
	sc.Helper()
	time.Sleep(sc.between(0, 500*time.Millisecond))
	w.Kill()
}

// killAtPublication kills right after a version is made: some peers have it
// then, or none.
func (sc *scene) killAtPublication(w *cluster.Watcher) {
	sc.Helper()
	sc.logged(w.Process, size(sc.T, w.Process), `"msg":"part committed"`, `"cluster":"east"`)
	time.Sleep(sc.between(0, time.Millisecond))
	w.Kill()
}

// TestLeaderFrozen stops the leader (SIGSTOP) for longer than its Lease, and
// lets it go on when the other watcher has published: what it still publishes
// under its old epoch changes nothing anywhere.
func TestLeaderFrozen(t *testing.T) {
	sc, _ := elected(t)
	for n := range of(2, 20) {
		leader, other := sc.leader()
		sc.load.burst(true)
		time.Sleep(sc.between(0, 500*time.Millisecond))
		leader.Freeze()
		from := size(t, other.Process)
		eventually(t, "the other watcher takes over", func() bool { return leads(other) })
		sc.logged(other.Process, from, `"msg":"publishing"`)
		if n%2 == 0 {
			began := time.Now()
			sc.followed(other)
			t.Logf("all follow the new leader %v after it took its epoch, with the old one frozen", time.Since(began).Round(time.Millisecond))
		}
		time.Sleep(sc.between(0, 2*time.Second))
		leader.Thaw()
		time.Sleep(sc.between(500*time.Millisecond, 1500*time.Millisecond)) // more load to be wrong under
		sc.load.burst(false)
		eventually(t, "the old leader follows", func() bool { return !leads(leader) })
	}
	sc.judge()
}

// followed waits until the other clusters' watchers have a version of the
// epoch that a watcher of east publishes under.
func (sc *scene) followed(w *cluster.Watcher) {
	sc.Helper()
	for _, c := range sc.set.Clusters[:2] {
		eventually(sc.T, "watchers of other clusters follow", func() bool {
			return epochAt(c.Watchers[0], "east") >= epochAt(w, "east") && epochAt(w, "east") > 0
		})
	}
}

// TestOldBackup puts east's etcd back to old backups: services and the epoch's
// ConfigMap are older than what all others hold. Nobody takes a version below
// what it has, and all come to show what the API server says now, be the
// watchers left alone, the leader killed afterwards, or both.
func TestOldBackup(t *testing.T) {
	sc, kube := elected(t)
	watchers := sc.set.Clusters[2].Watchers
	for n := range of(1, 30) {
		sc.leader()
		time.Sleep(sc.between(500*time.Millisecond, time.Second)) // of changes
		backup := kube.Backup()
		epoch := sc.epoch()
		sc.newEpoch()
		require.Greater(t, sc.epoch(), epoch, "the backup is old")
		sc.load.stop()
		sc.outrun()
		sc.restore(kube, backup)
		switch n % 3 {
		case 1:
			leader, other := sc.leader()
			leader.Kill()
			eventually(sc.T, "the other watcher takes over", func() bool { return leads(other) })
			leader.Start()
		case 2:
			for _, w := range watchers {
				w.Kill()
			}
			for _, w := range watchers {
				w.Start()
			}
		}
		sc.load.run()
	}
	sc.leader()
	time.Sleep(time.Second) // of changes
	sc.judge()
}

func (sc *scene) epoch() uint64 {
	sc.Helper()
	n, err := sc.load.to.(server).epoch()
	require.NoError(sc, err)
	return n
}

// outrun writes more than a starting API server does, so that what watchers saw
// last has a revision that the restored etcd has not given out yet.
func (sc *scene) outrun() {
	sc.Helper()
	for range 300 {
		require.NoError(sc, sc.load.step())
	}
	for _, c := range sc.set.Clusters {
		eventually(sc.T, "all have seen the last change", func() bool { return sc.agent(c) == 0 })
	}
}

// newEpoch has a leader give up and take the Lease again.
func (sc *scene) newEpoch() {
	sc.Helper()
	leader, _ := sc.leader()
	from := size(sc.T, leader.Process)
	leader.Kill()
	leader.Start()
	sc.logged(leader.Process, from, `"msg":"publishing"`)
}

// restore goes back to a backup and tells the history what is true then.
func (sc *scene) restore(kube *kubetest.Cluster, b kubetest.Backup) {
	sc.Helper()
	above := sc.load.highest()
	began := time.Now()
	kube.Restore(b)
	truth, err := sc.load.to.(server).truth()
	require.NoError(sc, err)
	sc.history.Restore(history.Restore{Cluster: sc.load.cluster, Began: began, Truth: truth})
	sc.load.restored(truth, above)
}
