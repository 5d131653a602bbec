package watch

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/config"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

// patience bounds waits for real sockets on a busy machine.
const patience = time.Minute

// start runs a watcher until the test's end, or until it is stopped.
func start(t *testing.T, cluster, dir, gossip string, join ...string) (w *Watcher, stop func()) {
	t.Helper()
	manifests := filepath.Join(dir, "manifests")
	require.NoError(t, os.MkdirAll(manifests, 0o755))
	c, err := config.Parse(cluster+".yaml", fmt.Appendf(nil, `
clusterset: prod
cluster: %s
source: {manifests: {dir: %s}}
gossip: {listen: %s, advertise: %s, join: [%s]}
insecure: true
state: %s
http: %s
`, cluster, manifests, gossip, gossip, strings.Join(join, ", "), filepath.Join(dir, "state"), freeport.Addr(t)))
	require.NoError(t, err)
	w, err = New(c, Options{Logger: slog.New(slog.DiscardHandler), Watcher: "w0"})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return w, stop
}

func met(w *Watcher) func() bool { return func() bool { return len(w.pool.Members()) == 2 } }

// TestAWatcherFindsItsPeersWithoutSeeds: a watcher whose seeds are down is
// started again, and comes back into the pool by what its state folder holds.
func TestAWatcherFindsItsPeersWithoutSeeds(t *testing.T) {
	eastGossip, westGossip, dir := freeport.Addr(t), freeport.Addr(t), t.TempDir()
	east, _ := start(t, "east", t.TempDir(), eastGossip)
	west, stop := start(t, "west", dir, westGossip, eastGossip)
	require.Eventually(t, met(west), patience, 10*time.Millisecond)
	stop()
	require.Eventually(t, func() bool { return !met(east)() }, patience, 10*time.Millisecond)

	again, _ := start(t, "west", dir, westGossip, freeport.Addr(t))
	require.Eventually(t, met(again), patience, 10*time.Millisecond)
	require.Eventually(t, met(east), patience, 10*time.Millisecond)
}
