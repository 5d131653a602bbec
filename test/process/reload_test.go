package process

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

// rewrite replaces text in the configuration of a watcher that runs; back puts
// it back.
func rewrite(t *testing.T, c *cluster.Cluster, from, to string) (back func()) {
	t.Helper()
	text, err := os.ReadFile(c.ConfigFile())
	require.NoError(t, err)
	require.Contains(t, string(text), from)
	require.NoError(t, cluster.Replace(c.ConfigFile(), strings.Replace(string(text), from, to, 1)))
	return func() {
		t.Helper()
		require.NoError(t, cluster.Replace(c.ConfigFile(), string(text)))
	}
}

// TestReload: what changes in watcher.yaml shows in answers, here and elsewhere,
// without a restart; a mistake shows in the log alone.
func TestReload(t *testing.T) {
	s := clusters(t, "west", "east")
	west, east := s.Clusters[0], s.Clusters[1]
	const stock = "stock.shop.global."

	s.Step("gateway", func(t *testing.T) {
		begun := time.Now()
		back := rewrite(t, east, east.Gateway, "192.0.2.200")
		west.Answers(stock, "A", "192.0.2.200")
		t.Logf("%s from the file to another cluster's answers", time.Since(begun).Round(time.Millisecond))
		back()
		west.Answers(stock, "A", east.Gateway)
	})
	s.Step("mistake", func(t *testing.T) {
		loop := west.Loop(expected(s)...)
		back := rewrite(t, west, "gossip:", "routing: {ordr: latency}\ngossip:")
		west.Watcher.Logged("configuration not taken",
			place(t, west.ConfigFile(), "routing:")+` unknown field \"ordr\" in routing: did you mean \"order\"?`)
		loop.Goes(2 * len(expected(s)))
		back()
		require.Eventually(t, func() bool {
			return west.Metric("isthmus_config_last_reload_successful") == 1
		}, patience, pause)
		loop.Stop()
	})
	s.Step("import", func(t *testing.T) {
		begun := time.Now()
		back := rewrite(t, west, "gossip:", "import: {clusters: {deny: [east]}}\ngossip:")
		west.Answers(stock, "A", "NXDOMAIN")
		t.Logf("%s from the file to the own agent's answers", time.Since(begun).Round(time.Millisecond))
		back()
		west.Answers(stock, "A", east.Gateway)
	})
	s.Step("restart needed", func(t *testing.T) {
		back := rewrite(t, west, "state: state", "state: elsewhere\nforget: 48h")
		west.Watcher.Logged("configuration needs a restart", `"forget, state"`)
		west.Reaches(2, "isthmus_config_restart_fields")
		back()
	})
	s.Step("signal", func(t *testing.T) {
		require.NoError(t, syscall.Kill(west.Watcher.PID(), syscall.SIGHUP))
		west.Watcher.Logged("configuration reloaded", `"changed":""`)
		west.Answers(stock, "A", east.Gateway)
	})
}
