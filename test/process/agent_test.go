package process

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

// TestAgentWithoutWatcher: an agent needs its watcher for news only.
func TestAgentWithoutWatcher(t *testing.T) {
	s := clusters(t, "west", "east")
	west, east := s.Clusters[0], s.Clusters[1]
	question := cluster.Query{Name: "stock.shop.global.", Type: "A"}

	s.Step("watcher stops", func(t *testing.T) {
		requireFresh(t, west, question)
		questions := expected(s)
		loop := west.Loop(questions...)
		loop.Goes(2 * len(questions))
		west.Watcher.Stop()
		westIsStale(t, west)
		before := loop.Stale()
		loop.Goes(2 * len(questions))
		require.Greater(t, loop.Stale(), before)
		loop.Stop()
		requireStale(t, west, question)
	})
	s.Step("agent restarts", func(t *testing.T) {
		west.Agent.Stop()
		west.Agent.Start()
		requireFromDisk(t, s, question)
	})
	s.Step("agent is killed", func(t *testing.T) {
		west.Agent.Kill()
		west.Agent.Start()
		requireFromDisk(t, s, question)
	})
	s.Step("damaged copy on disk", func(t *testing.T) {
		west.Agent.Kill()
		damage(t, filepath.Join(west.Snapshot(), "table.isthmus"))
		west.Agent.Start()
		west.Answers(question.Name, question.Type, "SERVFAIL")
		west.Answers("nothing.shop.global.", "A", "SERVFAIL") // nothing is denied
		west.Agent.Logged("copy of the table on disk not used", west.Snapshot())
		require.False(t, west.AgentReady())
	})
	s.Step("watcher returns", func(t *testing.T) {
		// Until the table is whole nothing is denied: there is SERVFAIL, and
		// then there is the answer.
		loop := west.Loop(cluster.Expect{Query: question, Right: []string{"SERVFAIL", east.Gateway}})
		west.Watcher.Start()
		west.Answers(question.Name, question.Type, east.Gateway)
		loop.Goes(10)
		loop.Stop()
		require.Eventually(t, west.AgentReady, patience, pause)
		requireFresh(t, west, question)
		loop = west.Loop(expected(s)...)
		loop.Goes(2 * len(expected(s)))
		loop.Stop()
	})
}

// requireFromDisk: a restarted agent without a watcher is ready, and its
// answers are right and marked.
func requireFromDisk(t *testing.T, s *cluster.Set, q cluster.Query) {
	t.Helper()
	west, east := s.Clusters[0], s.Clusters[1]
	// CoreDNS's ready says yes a moment before the DNS port is open.
	west.Answers(q.Name, q.Type, east.Gateway)
	require.True(t, west.AgentReady())
	requireStale(t, west, q)
	loop := west.Loop(expected(s)...)
	loop.Goes(2 * len(expected(s)))
	loop.Stop()
}

func westIsStale(t *testing.T, west *cluster.Cluster) {
	t.Helper()
	require.Eventually(t, func() bool {
		a, err := west.Ask(cluster.Query{Name: "stock.shop.global.", Type: "A"})
		return err == nil && a.Stale
	}, patience, pause)
}

// requireStale wants Extended DNS Error 3 where EDNS was asked, and no OPT
// record where it was not (RFC 6891 section 7).
func requireStale(t *testing.T, c *cluster.Cluster, q cluster.Query) {
	t.Helper()
	a, err := c.Ask(q)
	require.NoError(t, err)
	require.True(t, a.Stale, "%s", a)
	q.Plain = true
	plain, err := c.Ask(q)
	require.NoError(t, err)
	require.Equal(t, a.Data, plain.Data)
	require.False(t, plain.EDNS)
}

func requireFresh(t *testing.T, c *cluster.Cluster, q cluster.Query) {
	t.Helper()
	a, err := c.Ask(q)
	require.NoError(t, err)
	require.True(t, a.EDNS)
	require.False(t, a.Stale, "%s", a)
}

// damage flips one bit in the middle of a file.
func damage(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(file, data, 0o600))
}
