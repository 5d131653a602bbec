package replica

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Schedules are drawn from seeds that are printed when they fail. By default a
// few are run, from fixed seeds; ISTHMUS_SCHEDULES says how many, and
// ISTHMUS_SEED from which on.
const (
	schedulesVar     = "ISTHMUS_SCHEDULES"
	seedVar          = "ISTHMUS_SEED"
	defaultSchedules = 100
)

// TestLaws runs random schedules of a clusterset in memory: messages that are
// lost, doubled, late and out of order, replayed, or put together from others
// by a relay; pulls from whoever, new or old, on a base that moves meanwhile;
// watchers that crash and come back with nothing; rival leaders; sources that
// lag; epoch stores that are lost; clusters that are retired and come back;
// agents that change watchers. At each step,
// no version of any cluster goes back on any node. In the end digests and pulls
// make all tables equal, octet by octet, and where somebody led last they are
// what its source says.
func TestLaws(t *testing.T) {
	schedules, first := number(t, schedulesVar, defaultSchedules), number(t, seedVar, 1)
	keys := newLawKeys(t)
	total := map[string]int{}
	for seed := first; seed < first+schedules; seed++ {
		w := newLawWorld(t, keys, seed)
		for range 60 + w.rng.IntN(120) {
			w.step()
		}
		w.repair()
		w.requireEqual()
		for what, n := range w.did {
			total[what] += n
		}
		if t.Failed() {
			break
		}
	}
	t.Logf("%d schedules from seed %d: %v", schedules, first, total)
	if schedules >= defaultSchedules { // a law about what never happens is none
		for _, what := range []string{
			"applied by message", "applied by pull", "forged delta", "tampered pull refused", "moving base",
			"digest answered", "deposed", "crashed", "epochs lost", "retired", "came back", "replayed", "agent changed watchers",
		} {
			require.Positive(t, total[what], what)
		}
	}
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err, name)
	return n
}

// step does one thing that can happen.
func (w *lawWorld) step() {
	for _, op := range []struct {
		weight int
		do     func()
	}{
		{30, w.deliver},
		{5, w.lose},
		{12, w.changeSource},
		{6, w.sourceCatchesUp},
		{16, w.publish},
		{5, w.elect},
		{4, w.beat},
		{3, w.replay},
		{3, w.forge},
		{8, func() { w.pull(w.pick(), w.pick(), w.cluster()) }},
		{3, w.exchange},
		{5, w.sendDigest},
		{2, w.crash},
		{1, w.loseEpochs},
		{1, w.retire},
		{6, w.agentReads},
		{2, w.agentMoves},
		{3, w.agentPulls},
	} {
		if w.rng.IntN(115) < op.weight {
			op.do()
			w.requireForward()
		}
	}
}

// requireForward compares what every node shows with what it showed before.
func (w *lawWorld) requireForward() {
	for _, c := range w.copies() {
		for _, h := range c.held.heads.all() {
			w.requireNotBack(c, h.Cluster, h.version())
			_, part := c.held.get(h.Cluster)
			require.Equal(w.t, h.root, part.root, "seed %d: %s holds another part of %s than it says", w.seed, c.name, h.Cluster)
		}
		for _, state := range c.held.table.Clusters() {
			w.requireNotBack(c, state.Cluster.Name, state.Version)
		}
	}
}

func (w *lawWorld) requireNotBack(c *lawCopy, cluster string, v discovery.Version) {
	if v.Less(c.shown[cluster]) {
		require.Failf(w.t, "version went back", "seed %d: %s showed %s at %v, now at %v", w.seed, c.name, cluster, c.shown[cluster], v)
	}
	c.shown[cluster] = v
}

// repair is what follows when nothing is lost any more: sources are read to
// their end, mostly somebody leads, and digests tell who lacks what.
func (w *lawWorld) repair() {
	w.packets = nil
	for _, n := range w.nodes {
		n.catchUp()
	}
	for _, cluster := range w.clusters {
		if w.onlyAgentsKnow(cluster) { // of a retirement, maybe: nobody can follow that but who did it
			w.renewAgents()
		}
		w.led[cluster] = w.rng.IntN(4) > 0 && !w.isRetired(cluster)
		if w.led[cluster] {
			n := w.watchersOf(cluster)[w.rng.IntN(2)]
			for _, peer := range w.nodes { // it may not have heard that its cluster is back
				w.digest(n, peer)
			}
			w.lead(n)
		}
	}
	w.packets = nil
	for moved := true; moved; { // each round carries what is newest one node further at least
		moved = false
		for _, i := range w.rng.Perm(len(w.nodes)) {
			for _, j := range w.rng.Perm(len(w.nodes)) {
				moved = w.digest(w.nodes[i], w.nodes[j]) || moved
			}
		}
	}
	for _, a := range w.agents {
		a.follow(w, w.nodes[w.rng.IntN(len(w.nodes))])
		for _, cluster := range w.clusters {
			a.pull(w, cluster)
		}
	}
	w.requireForward()
}

// requireEqual compares all copies with the first, and with the sources.
func (w *lawWorld) requireEqual() {
	want := w.nodes[0].lawCopy
	for _, c := range w.copies() {
		require.Equal(w.t, versionsOf(want), versionsOf(c), "seed %d: %s and %s", w.seed, want.name, c.name)
		for _, h := range want.held.heads.all() {
			_, a := want.held.get(h.Cluster)
			_, b := c.held.get(h.Cluster)
			require.Equal(w.t, contentOf(a), contentOf(b), "seed %d: %s of %s", w.seed, h.Cluster, c.name)
			require.Equal(w.t, a.root, b.root, "seed %d: %s of %s", w.seed, h.Cluster, c.name)
		}
		require.Equal(w.t, contents(want.held.table), contents(c.held.table), "seed %d: table of %s", w.seed, c.name)
	}
	for _, cluster := range w.clusters {
		if w.isRetired(cluster) {
			require.Empty(w.t, shownOf(want.held.table, cluster), "seed %d: %s is retired", w.seed, cluster)
		}
		if w.led[cluster] {
			require.Equal(w.t, w.truth[cluster], shownOf(want.held.table, cluster), "seed %d: %s is not what its source says", w.seed, cluster)
		}
	}
}

func versionsOf(c *lawCopy) map[string]discovery.Version {
	out := map[string]discovery.Version{}
	for _, h := range c.held.heads.all() {
		out[h.Cluster] = h.version()
	}
	return out
}

func contentOf(p *part) map[string]string {
	out := map[string]string{}
	for _, b := range p.buckets {
		for key, value := range b.each() {
			out[key] = string(value)
		}
	}
	return out
}

// contents is all that a table's readers see.
func contents(table *discovery.Table) map[discovery.Key][]discovery.Candidate {
	out := map[discovery.Key][]discovery.Candidate{}
	table.Walk(func(e *discovery.Entry) bool {
		out[e.Key] = e.Candidates
		return true
	})
	return out
}

// shownOf is one cluster's services in a table and how many are ready.
func shownOf(table *discovery.Table, cluster string) map[string]uint32 {
	out := map[string]uint32{}
	table.Walk(func(e *discovery.Entry) bool {
		if s := e.Candidate(cluster); s != nil {
			out[s.Name] = s.Ready()
		}
		return true
	})
	return out
}

func newLawWorld(t *testing.T, keys *lawKeys, seed uint64) *lawWorld {
	w := &lawWorld{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), keys: keys, clusters: []string{"east", "west", "central"},
		epochs: map[string]*counter{}, lost: map[string]bool{}, truth: map[string]map[string]uint32{}, led: map[string]bool{}, did: map[string]int{},
	}
	for _, cluster := range w.clusters {
		w.epochs[cluster], w.truth[cluster] = &counter{}, map[string]uint32{}
	}
	for _, cluster := range w.clusters {
		for i := range 2 {
			w.nodes = append(w.nodes, w.start(cluster+strconv.Itoa(i), cluster))
		}
	}
	w.renewAgents()
	return w
}
