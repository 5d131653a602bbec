package replica

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// agent runs a subscriber until stop is called.
func agent(t testing.TB, identity *trust.Identity, dir string, watchers ...string) (s *Subscriber, stop func()) {
	s = restored(t, identity, dir, watchers...)
	return s, follow(t, s)
}

// restored is an agent that does not run yet.
func restored(t testing.TB, identity *trust.Identity, dir string, watchers ...string) *Subscriber {
	s, err := NewSubscriber(SubscriberConfig{
		Watchers: watchers, Identity: identity, Table: discovery.NewTable(), SnapshotDir: dir, Node: "n1",
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	})
	require.NoError(t, err)
	require.NoError(t, s.Restore())
	return s
}

// follow runs a subscriber until the returned function is called.
func follow(t testing.TB, s *Subscriber) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = s.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	t.Cleanup(stop)
	return stop
}

func TestAgentFollowsAndRestartsFromDisk(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	east := n.start(t, p, "e0.east", "east")
	east.publisher.Update(whole("east", service("user", 3)))
	east.lead(t, &counter{})
	dir := t.TempDir()
	identity := p.identity("west", trust.Agent)
	s, stop := agent(t, identity, dir, west.peer.Addr)
	require.Never(t, s.Table().Loaded, 100*time.Millisecond, 10*time.Millisecond, "the watcher's own part is not there yet")
	west.publisher.Update(whole("west", service("orders", 1)))
	west.lead(t, &counter{})
	eventually(t, "loaded", func() bool { return s.Table().Loaded() && !s.Stale() })
	require.Equal(t, "west", s.View().Cluster)
	require.Equal(t, "r-west", s.View().Locality.Region)
	eventually(t, "east's part", func() bool { return ready(s.Table(), "user", "east") == 3 })

	east.publisher.Update(discovery.Update{Services: []*discovery.Service{service("user", 1)}})
	eventually(t, "a change", func() bool { return ready(s.Table(), "user", "east") == 1 })

	west.stop()
	eventually(t, "stale", s.Stale)
	require.Equal(t, 1, ready(s.Table(), "user", "east"), "answers stay without a watcher")

	stop()
	again, _ := agent(t, identity, dir, west.peer.Addr)
	require.True(t, again.Table().Loaded(), "at once, from disk")
	require.True(t, again.Stale())
	require.Equal(t, 1, ready(again.Table(), "user", "east"))
	require.Equal(t, *s.View(), *again.View())
}

func TestDamagedCopyOnDiskIsNotFatal(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	west.publisher.Update(whole("west", service("user", 3)))
	west.lead(t, &counter{})
	dir := t.TempDir()
	identity := p.identity("west", trust.Agent)
	s, stop := agent(t, identity, dir, west.peer.Addr)
	eventually(t, "loaded", func() bool { return ready(s.Table(), "user", "west") == 3 && !s.Stale() })
	stop()
	path := filepath.Join(dir, snapshotFile)
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	for what, bad := range map[string][]byte{
		"empty": {}, "truncated": good[:len(good)/2], "one bit": flip(good, len(good)/2), "other magic": flip(good, 3),
		"sum": flip(good, len(good)-1), "random": []byte("x"),
	} {
		t.Run(what, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, bad, 0o600))
			fresh, err := NewSubscriber(SubscriberConfig{Watchers: []string{"127.0.0.1:1"}, Identity: identity, Table: discovery.NewTable(), SnapshotDir: dir})
			require.NoError(t, err)
			require.Error(t, fresh.Restore())
			require.False(t, fresh.Table().Loaded())
		})
	}
}

func flip(b []byte, i int) []byte {
	c := append([]byte(nil), b...)
	c[i] ^= 1
	return c
}

func TestAgentOfAnotherClusterIsRefused(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	conn, err := dial(p.identity("east", trust.Agent), target{addr: west.peer.Addr, cluster: "west"})
	require.NoError(t, err)
	defer conn.Close()
	_, err = pullFrom(t.Context(), conn, west.store, "west", emptyPart)
	require.ErrorContains(t, err, "spiffe://test/cluster/east/agent may not read")
}

// TestAgentLeavesAWatcherThatIsNotReady: a watcher that waits for its own part,
// maybe for ever, must not keep an agent from one that has it.
func TestAgentLeavesAWatcherThatIsNotReady(t *testing.T) {
	p, n := newPKI(t), &network{}
	stuck := n.start(t, p, "w0.west", "west")
	good := n.start(t, p, "w1.west", "west")
	n.mu.Lock()
	n.cut["w0.west"] = true
	n.mu.Unlock()
	good.publisher.Update(whole("west", service("user", 3)))
	good.lead(t, &counter{})
	for range 4 { // the first watcher is drawn
		s, err := NewSubscriber(SubscriberConfig{
			Watchers: []string{stuck.peer.Addr, good.peer.Addr}, Identity: p.identity("west", trust.Agent), Table: discovery.NewTable(),
		})
		require.NoError(t, err)
		s.patience = 200 * time.Millisecond
		stop := follow(t, s)
		eventually(t, "the table", func() bool { return s.Table().Loaded() && ready(s.Table(), "user", "west") == 3 })
		stop()
	}
}

// TestAgentFollowsItsWatcherToAnotherCluster: when the clusterset has dropped a
// cluster and another one has taken the name, an agent that missed that must
// not stay with the old one for ever.
func TestAgentFollowsItsWatcherToAnotherCluster(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	west.publisher.Update(whole("west", service("orders", 1)))
	west.lead(t, &counter{})
	east := n.start(t, p, "e0.east", "east")
	east.publisher.Update(whole("east", service("user", 3)))
	east.lead(t, &counter{n: 40})
	dir := t.TempDir()
	identity := p.identity("west", trust.Agent)
	s, stop := agent(t, identity, dir, west.peer.Addr)
	eventually(t, "east's part", func() bool { return ready(s.Table(), "user", "east") == 3 && !s.Stale() })
	stop()
	east.stop()
	west.stop()

	n = &network{}
	west = n.start(t, p, "w1.west", "west")
	west.publisher.Update(whole("west", service("orders", 1)))
	west.lead(t, &counter{n: 1})
	rebuilt := n.start(t, p, "e1.east", "east")
	update := whole("east", service("pay", 1))
	update.Cluster.UID = "uid-rebuilt"
	rebuilt.publisher.Update(update)
	rebuilt.lead(t, &counter{})
	eventually(t, "west has the new east", func() bool { return ready(west.config.Table, "pay", "east") == 1 })
	s, _ = agent(t, identity, dir, west.peer.Addr)
	if ready(s.Table(), "user", "east") != 3 { // from disk, unless the watcher was faster
		require.Equal(t, 1, ready(s.Table(), "pay", "east"))
	}
	eventually(t, "the new east", func() bool { return ready(s.Table(), "pay", "east") == 1 })
	require.Equal(t, -1, ready(s.Table(), "user", "east"))
	eventually(t, "current", func() bool { return !s.Stale() })

	rebuilt.publisher.Update(discovery.Update{Services: []*discovery.Service{service("pay", 2)}})
	eventually(t, "its changes", func() bool { return ready(s.Table(), "pay", "east") == 2 })
}
