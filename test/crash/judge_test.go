package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/gossip/trust"
	"github.com/isthmus-dns/isthmus/test/cluster"
	"github.com/isthmus-dns/isthmus/test/history"
)

// seedEnv repeats a run's random choices. Processes still take their own time.
const seedEnv = "ISTHMUS_SEED"

// scene is a clusterset under load, with onlookers at all its nodes.
type scene struct {
	*testing.T
	set     *cluster.Set
	load    *load
	history *history.History
	rand    *rand.Rand
	seed    uint64
	away    func()
	// strangers are lives of processes that were refused by all others: what
	// they hold is none of the clusterset's.
	strangers map[history.Node]bool
}

// newScene starts a load on a cluster, and the onlookers. All processes run.
func newScene(t *testing.T, s *cluster.Set, name string, to source) *scene {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, seedEnv)
	}
	t.Logf("%s=%d", seedEnv, seed)
	sc := &scene{T: t, set: s, history: history.New(), rand: rand.New(rand.NewPCG(seed, 0)), seed: seed, strangers: map[history.Node]bool{}}
	t.Cleanup(func() { sc.keep() })
	sc.load = newLoad(t, name, to, sc.history, seed)
	for range few {
		require.NoError(t, sc.load.step())
	}
	for _, c := range s.Clusters {
		eventually(t, "all clusters know the first services", func() bool { return sc.agent(c) == 0 })
	}
	sc.away = look(t, s, sc.load)
	sc.load.run()
	return sc
}

// between is a random time.
func (sc *scene) between(least, most time.Duration) time.Duration {
	return least + time.Duration(sc.rand.Int64N(int64(most-least)+1))
}

// agent counts the services that a cluster's agent does not show as they are.
func (sc *scene) agent(c *cluster.Cluster) (wrong int) {
	truth := sc.history.Truth()
	for s, want := range truth {
		if got, err := ask(c, s.Cluster, s.Name); err != nil || got != want {
			wrong++
		}
	}
	return wrong
}

func (sc *scene) watcher(w *cluster.Watcher) (wrong int) {
	shows, err := services(context.Background(), w, sc.load.cluster)
	if err != nil {
		return 1
	}
	for s, want := range sc.history.Truth() {
		if shows[s.Name] != want {
			wrong++
		}
	}
	return wrong
}

// settles ends the load and waits until all nodes show the truth, or long
// enough for the checker to say who does not.
func (sc *scene) settles() {
	sc.Helper()
	sc.load.stop()
	deadline := time.Now().Add(patience)
	until := func(wrong func() int) {
		for wrong() > 0 && time.Now().Before(deadline) {
			time.Sleep(pause)
		}
	}
	for _, c := range sc.set.Clusters {
		until(func() int { return sc.agent(c) })
		for _, w := range c.Watchers {
			until(func() int { return sc.watcher(w) })
		}
	}
	sc.away()
	for _, c := range sc.set.Clusters {
		for _, name := range sc.load.all() {
			service := history.Service{Cluster: sc.load.cluster, Name: name}
			if value, err := ask(c, service.Cluster, name); err == nil {
				sc.history.Final(c.Agent.Name, service, value)
			}
		}
		for _, w := range c.Watchers {
			shows, err := services(sc.Context(), w, sc.load.cluster)
			require.NoError(sc, err, "services of %s", w.Name)
			for _, name := range sc.load.all() {
				sc.history.Final(w.Name, history.Service{Cluster: sc.load.cluster, Name: name}, shows[name])
			}
		}
	}
}

// judge ends the scene and wants a history without a fault.
func (sc *scene) judge() {
	sc.Helper()
	sc.settles()
	for _, p := range sc.nodes() {
		commits, err := readLog(p)
		require.NoError(sc, err)
		require.NotEmpty(sc, commits, "%s logs no commits", p.Name)
		sc.history.Commit(slices.DeleteFunc(commits, func(c history.Commit) bool { return sc.strangers[c.Node] })...)
	}
	commits, looks, writes := sc.history.Size()
	sc.Logf("judged: %d commits of %d nodes, %d looks, %d writes", commits, len(sc.nodes()), looks, writes)
	require.Greater(sc, looks, 100, "the onlookers hardly looked")
	faults := sc.history.Check()
	if len(faults) == 0 {
		return
	}
	const shown = 10 // one cause shows on many nodes
	var text strings.Builder
	for _, f := range faults[:min(len(faults), shown)] {
		text.WriteString(f.String() + "\n")
	}
	sc.Fatalf("%d faults, the first of them:\n%s", len(faults), &text)
}

func readLog(p *cluster.Process) ([]history.Commit, error) {
	file, err := os.Open(p.LogFile())
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return history.ReadLog(p.Name, file)
}

func (sc *scene) nodes() []*cluster.Process {
	var all []*cluster.Process
	for _, c := range sc.set.Clusters {
		for _, w := range c.Watchers {
			all = append(all, w.Process)
		}
		all = append(all, c.Agent)
	}
	return all
}

// keep saves the logs of a test that failed, whose folder goes with it.
func (sc *scene) keep() {
	if !sc.Failed() {
		return
	}
	dir, err := os.MkdirTemp("", "isthmus-crash-")
	if err != nil {
		sc.Logf("logs not kept: %v", err)
		return
	}
	for _, p := range sc.nodes() {
		text, err := os.ReadFile(p.LogFile())
		if err != nil {
			continue // it was never started
		}
		name := strings.ReplaceAll(p.Name, " ", "-") + ".log"
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			sc.Logf("log not kept: %v", err)
		}
	}
	sc.Logf("%s=%d; all logs are in %s", seedEnv, sc.seed, dir)
}

// onDisk adds to the history what an agent's next life will find on disk. It
// must not run.
func (sc *scene) onDisk(c *cluster.Cluster) map[string]history.Version {
	sc.Helper()
	table := discovery.NewTable()
	id := c.IdentityOf(trust.Agent)
	s, err := replica.NewSubscriber(replica.SubscriberConfig{Watchers: []string{c.Gossip}, Identity: id, Table: table, SnapshotDir: c.Snapshot()})
	require.NoError(sc, err)
	require.NoError(sc, s.Restore())
	versions := map[string]history.Version{}
	for _, k := range table.Clusters() {
		versions[k.Cluster.Name] = history.Version(k.Version)
	}
	sc.history.Disk(history.Disk{Node: history.Node{Name: c.Agent.Name, Life: c.Agent.Lives() + 1}, Versions: versions})
	return versions
}

// logged waits for a new line of a process's log that holds all the given
// texts, beginning at an offset.
func (sc *scene) logged(p *cluster.Process, from int64, texts ...string) {
	sc.Helper()
	var last string
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if text, err := tail(p, from); err == nil {
			for line := range strings.Lines(text) {
				if holds(line, texts) {
					return
				}
				last = line
			}
		}
		if time.Now().After(deadline) {
			sc.Fatalf("%s logs no line with %q; the last one is %s", p.Name, texts, last)
		}
	}
}

func holds(line string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(line, text) {
			return false
		}
	}
	return true
}

// size is how long a process's log is.
func size(t *testing.T, p *cluster.Process) int64 {
	t.Helper()
	info, err := os.Stat(p.LogFile())
	require.NoError(t, err)
	return info.Size()
}

func tail(p *cluster.Process, from int64) (string, error) {
	file, err := os.Open(p.LogFile())
	if err != nil {
		return "", err
	}
	defer file.Close()
	text := make([]byte, 1<<20)
	n, err := file.ReadAt(text, from)
	if n == 0 {
		return "", fmt.Errorf("log of %s: %w", p.Name, err)
	}
	return string(text[:n]), nil
}
