package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/discovery"
)

// byHand is a run whose events are not read, so that what a test sees is not
// due to them; the test turns the clock.
func byHand(t *testing.T) (r *run, dir string, updates *[]discovery.Update) {
	t.Helper()
	dir = t.TempDir()
	source, err := New(Config{Dir: dir, Cluster: func([]*corev1.Node) *discovery.Cluster { return nil }})
	require.NoError(t, err)
	updates = &[]discovery.Update{}
	r = source.newRun(func(u discovery.Update) { *updates = append(*updates, u) })
	t.Cleanup(r.unwatch)
	putService(t, dir, "user", 80)
	require.True(t, r.open())
	r.scan()
	require.Len(t, *updates, 1)
	return r, dir, updates
}

func putService(t *testing.T, dir, name string, port int) {
	t.Helper()
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Service", "metadata": {"name": %q, "annotations": {"isthmus.dev/export": "true"}},
		"spec": {"clusterIP": "10.96.0.7", "ports": [{"port": %d}]}}`, name, port)
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+".json"), []byte(text), 0o600))
}

func TestOverflowLooksAtAllFiles(t *testing.T) {
	r, dir, updates := byHand(t)
	putService(t, dir, "order", 80)
	now := time.Now()
	r.tick(now.Add(settleMax))
	require.Len(t, *updates, 1, "nobody told")
	r.fault(fsnotify.ErrEventOverflow, true)
	r.tick(now.Add(2 * settleMax))
	require.Len(t, *updates, 2)
	require.Equal(t, "order", (*updates)[1].Services[0].Name)
	require.Len(t, (*updates)[1].Services, 1)
}

func TestSafetyNetLooksAtAllFiles(t *testing.T) {
	r, dir, updates := byHand(t)
	require.NoError(t, os.Remove(filepath.Join(dir, "user.json")))
	r.tick(r.lastScan.Add(29 * time.Second))
	require.Len(t, *updates, 1)
	r.tick(r.lastScan.Add(30 * time.Second))
	require.Len(t, *updates, 2)
	require.Equal(t, []discovery.Key{"user.default"}, (*updates)[1].Removed)
}

func TestWithoutFileEventsItPolls(t *testing.T) {
	r, dir, updates := byHand(t)
	require.NoError(t, r.watch.close()) // as when the system has no watch left
	putService(t, dir, "user", 8080)
	r.tick(r.lastScan.Add(lookEvery))
	require.Len(t, *updates, 2)
	require.EqualValues(t, 8080, (*updates)[1].Services[0].Ports[0].Port)
}

func TestUnreadableDirectoryKeepsAll(t *testing.T) {
	r, dir, updates := byHand(t)
	require.NoError(t, os.Rename(dir, dir+".away"))
	require.ErrorIs(t, r.files.scan(), os.ErrNotExist)
	require.Contains(t, r.files.byName, "user.json")
	r.settler.touch("user.json", time.Now())
	r.tick(time.Now().Add(settleMax))
	require.Nil(t, r.watch, "it noticed")
	r.tick(time.Now())
	require.Len(t, *updates, 1)
	require.Zero(t, r.returned)

	require.NoError(t, os.Mkdir(dir, 0o700))
	now := time.Now()
	r.tick(now)
	require.Equal(t, now, r.returned)
	r.tick(now.Add(time.Hour))
	require.Len(t, *updates, 1, "an empty directory is not believed")
	putService(t, dir, "user", 8080)
	r.tick(now.Add(2 * time.Hour))
	require.Len(t, *updates, 2)
	require.Len(t, (*updates)[1].Services, 1)
	require.Empty(t, (*updates)[1].Removed)
}

func TestDeletionsWaitForOneAnother(t *testing.T) {
	r, dir, _ := byHand(t)
	now := time.Now()
	require.NoError(t, os.Remove(filepath.Join(dir, "user.json")))
	p := pending{name: "user.json", first: now}
	r.lastRemove = now.Add(2 * time.Millisecond)
	until, wait := r.tooEarly(p, now.Add(settleQuiet))
	require.True(t, wait, "another deletion came since")
	require.Equal(t, r.lastRemove.Add(settleQuiet), until)
	_, wait = r.tooEarly(p, until)
	require.False(t, wait)
	r.lastRemove = now.Add(removeHold)
	_, wait = r.tooEarly(p, now.Add(removeHold))
	require.False(t, wait, "not for ever")
	_, wait = r.tooEarly(pending{name: "unknown.yaml", first: now}, now)
	require.False(t, wait, "there is nothing to lose")
}

func TestSettler(t *testing.T) {
	zero := time.Unix(0, 0)
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	names := func(due []pending) (out []string) {
		for _, p := range due {
			out = append(out, p.name)
		}
		return out
	}
	s := newSettler()
	require.Empty(t, s.take(at(0)))
	require.Zero(t, s.wake)

	s.touch("a", at(0))
	s.touch("b", at(3))
	require.Equal(t, at(5), s.wake)
	require.Empty(t, s.take(at(4)))
	require.Equal(t, []string{"a"}, names(s.take(at(5))))
	require.Equal(t, at(8), s.wake)
	require.Equal(t, []string{"b"}, names(s.take(at(9))))

	for ms := 0; ms <= 60; ms += 4 { // a file that is written all the time
		if s.touch("c", at(ms)); ms < 50 {
			require.Empty(t, s.take(at(ms)), ms)
		}
	}
	require.Equal(t, at(50), s.wake)
	require.Equal(t, []string{"c"}, names(s.take(at(60))))

	for i := range MaxFiles + 1 {
		s.touch(fmt.Sprint(i), at(100))
	}
	require.Equal(t, []string{rescan}, names(s.take(at(200))), "so many are not worth a list")
	require.Zero(t, s.wake)
}
