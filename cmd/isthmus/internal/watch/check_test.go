package watch

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/config"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

// TestAdvertise: it is the address that is listened on, unless that is every
// address.
func TestAdvertise(t *testing.T) {
	parse := func(listen string) *config.Config {
		dir := t.TempDir()
		c, err := config.Parse(filepath.Join(dir, "watcher.yaml"), fmt.Appendf(nil,
			"clusterset: prod\ncluster: west\ninsecure: true\nsource: {manifests: {dir: %s}}\nstate: state\nhttp: %s\ngossip: {listen: \"%s\"}\n",
			dir, freeport.Addr(t), listen))
		require.NoError(t, err)
		return c
	}
	own := freeport.Addr(t)
	c := parse(own)
	require.Equal(t, own, c.Gossip.Advertise)
	require.NoError(t, Check(c))
	w, err := New(c, Options{Logger: slog.New(slog.DiscardHandler), Watcher: "w0"})
	require.NoError(t, err)
	w.Close()

	c = parse("0.0.0.0:7946")
	const want = "watcher.yaml:7: gossip.advertise: is missing: add advertise: HOST:PORT, the address that other clusters reach this one by"
	require.ErrorContains(t, Check(c), want)
	_, err = New(c, Options{Logger: slog.New(slog.DiscardHandler), Watcher: "w0"})
	require.ErrorContains(t, err, want)
}
