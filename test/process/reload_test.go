package process

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestReload: what changes in watcher.yaml shows in answers, here and elsewhere,
// without a restart; a mistake shows in the log alone.
func TestReload(t *testing.T) {
	s := clusters(t, "west", "east")
	west, east := s.Clusters[0], s.Clusters[1]
	const stock = "stock.shop.global."

	s.Step("gateway", func(t *testing.T) {
		begun := time.Now()
		back := east.Rewrite(east.Gateway, "192.0.2.200")
		west.Answers(stock, "A", "192.0.2.200")
		t.Logf("%s from the file to another cluster's answers", time.Since(begun).Round(time.Millisecond))
		back()
		west.Answers(stock, "A", east.Gateway)
	})
	s.Step("mistake", func(t *testing.T) {
		loop := west.Loop(expected(s)...)
		back := west.Rewrite("gossip:", "routing: {ordr: latency}\ngossip:")
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
		back := west.Rewrite("gossip:", "import: {clusters: {deny: [east]}}\ngossip:")
		west.Answers(stock, "A", "NXDOMAIN")
		t.Logf("%s from the file to the own agent's answers", time.Since(begun).Round(time.Millisecond))
		back()
		west.Answers(stock, "A", east.Gateway)
	})
	s.Step("restart needed", func(t *testing.T) {
		back := west.Rewrite("state: state", "state: elsewhere\nforget: 48h")
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
