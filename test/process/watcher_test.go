package process

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

// TestWatcherRestarts: whatever becomes of east's watcher, west answers all
// names as before, and follows east again when it is back.
func TestWatcherRestarts(t *testing.T) {
	s := clusters(t, "west", "central", "east")
	west, east := s.Clusters[0], s.Clusters[2]
	for _, c := range []struct {
		name  string
		end   func(*cluster.Process)
		loses string // in the state folder
		fresh string // exported afterwards
	}{
		{name: "stopped", end: (*cluster.Process).Stop, fresh: "one"},
		{name: "killed", end: (*cluster.Process).Kill, fresh: "two"},
		{name: "killed, epoch lost", end: (*cluster.Process).Kill, loses: "epoch", fresh: "three"},
	} {
		s.Step(c.name, func(t *testing.T) {
			before := east.Epoch()
			questions := expected(s)
			loop := west.Loop(questions...)
			loop.Goes(2 * len(questions))
			c.end(east.Watcher)
			west.Members(2)
			loop.Goes(2 * len(questions)) // the member is gone, its names are not
			if c.loses != "" {
				require.NoError(t, os.Remove(filepath.Join(east.State(), c.loses)))
			}
			east.Watcher.Start()
			// What east says from now on reaches west: the epoch is newer
			// than what west holds, also when east has forgotten its own.
			fresh := cluster.Service{Namespace: "fresh", Name: c.fresh, Ready: 1}
			east.Export(fresh)
			west.Answers(fresh.Name+".fresh.global.", "A", east.Gateway)
			require.Greater(t, east.Epoch(), before)
			loop.Goes(2 * len(questions))
			t.Logf("%d answers, none lost, none wrong", loop.Stop())
		})
	}
}

// TestStateLost: a folder source keeps the cluster's uid in its state folder.
// Without it the watcher can't prove that it is the cluster whose part the
// others hold, and says how to mend that; the others keep what they have.
func TestStateLost(t *testing.T) {
	s := clusters(t, "west", "east")
	west, east := s.Clusters[0], s.Clusters[1]
	uid, err := os.ReadFile(filepath.Join(east.State(), "uid"))
	require.NoError(t, err)
	epoch := east.Epoch()
	questions := expected(s)
	loop := west.Loop(questions...)
	east.Watcher.Kill()
	require.NoError(t, os.RemoveAll(east.State()))

	east.Watcher.Start()
	require.Equal(t, 2, east.Watcher.Wait())
	line := east.Watcher.Logged("isthmus: " + east.ConfigFile() + ":2: cluster: ")
	require.Contains(t, line, "cluster name is taken")
	require.Contains(t, line, string(uid[:len(uid)-1]), "the uid that the others know")
	require.Contains(t, line, filepath.Join(east.State(), "uid"), "where to write it")

	// Mended as the line says, it goes on where it was.
	require.NoError(t, os.WriteFile(filepath.Join(east.State(), "uid"), uid, 0o600))
	east.Watcher.Start()
	fresh := cluster.Service{Namespace: "fresh", Name: "mended", Ready: 1}
	east.Export(fresh)
	west.Answers("mended.fresh.global.", "A", east.Gateway)
	require.Greater(t, east.Epoch(), epoch)
	loop.Goes(2 * len(questions))
	t.Logf("%d answers, none lost, none wrong", loop.Stop())
}
