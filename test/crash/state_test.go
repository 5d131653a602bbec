package crash

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/history"
)

// TestStateDeleted deletes what processes keep on disk. A folder source keeps
// the cluster's uid there: without it the watcher is a stranger who is refused
// and told what to do, and nobody else goes back or loses a name meanwhile. An
// agent without its copy, or with a damaged one, gets all from its watcher.
func TestStateDeleted(t *testing.T) {
	s := folders(t, "west", "central", "east")
	west, east := s.Clusters[0], s.Clusters[2]
	sc := newScene(t, s, "east", folder{east})
	for n := range of(2, 20) {
		sc.load.burst(true)
		time.Sleep(sc.between(0, 500*time.Millisecond))

		uidFile := filepath.Join(east.State(), "uid")
		uid, err := os.ReadFile(uidFile)
		require.NoError(t, err)
		epoch := east.Epoch()
		east.Watcher.Kill()
		require.NoError(t, os.RemoveAll(east.State()))
		from := size(t, east.Watcher)
		east.Watcher.Start()
		sc.strangers[history.Node{Name: east.Watcher.Name, Life: east.Watcher.Lives()}] = true
		require.Equal(t, 2, east.Watcher.Wait(), "a stranger ends with the exit code of a mistake")
		sc.logged(east.Watcher, from, "isthmus: ", "cluster name is taken", string(uid[:len(uid)-1]), uidFile)
		require.NoError(t, os.WriteFile(uidFile, uid, 0o600)) // as the line says
		east.Watcher.Start()
		eventually(t, "the watcher publishes again", func() bool { return leads(east.Watchers[0]) })
		sc.logged(east.Watcher, from, `"msg":"publishing"`)
		require.Greater(t, east.Epoch(), epoch, "it goes on above what the others hold")

		copied := filepath.Join(west.Snapshot(), "table.isthmus")
		eventually(t, "the agent has a copy on disk", func() bool {
			_, err := os.Stat(copied)
			return err == nil
		})
		west.Agent.Kill()
		if n%2 == 0 {
			require.NoError(t, os.RemoveAll(west.Snapshot()))
		} else {
			damage(t, copied)
		}
		west.Agent.Start()
		sc.load.burst(false)
		eventually(t, "the agent is ready", west.AgentReady)
	}
	sc.judge()
}

// damage flips one bit in the middle of a file.
func damage(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(file, data, 0o600))
}
