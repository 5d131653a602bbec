package clusters

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fault is what is done to the clusters while all Pods ask.
type fault struct {
	name        string
	rig         bool          // only the rig can do it
	short, full time.Duration // how long it lasts, where that can be chosen
	long        bool          // only at full length

	// prepare, if any, brings about what the fault begins with. It doesn't count.
	prepare func(t *testing.T, f *fleet)
	// do makes the fault, ends it, and returns when all is as before.
	do func(t *testing.T, f *fleet, m *measure)
}

// measure is what a fault was found to do.
type measure struct {
	fault
	lasts   time.Duration // short or full
	without []string      // nodes whose Pods don't count
	losing  []string      // nodes whose Pods may lose answers, but hear no wrong ones

	changed map[*cluster]wants // right answers between that before and that after it
	anytime anytime
	tally
	right time.Duration // from when the change could be made until the last Pod heard of it
}

// faults in an order in which one does not make the next wait: gateways that
// changed stay as they are for half a minute, and kubelets look away for as long
// after their API server was gone. The short cut is over before three probes
// have failed.
var faults = []fault{
	{name: "leading watchers deleted", do: leadersDeleted},
	{name: "all watchers of a cluster deleted", do: watchersDeleted},
	{name: "clusters cut apart", rig: true, short: 8 * time.Second, full: 3 * time.Minute, do: cutApart},
	{name: "LoadBalancer has no address, then another", short: 3 * time.Second, full: 30 * time.Second, do: balancerMoves},
	{name: "everything rolls", do: everythingRolls},
	{name: "upgraded from an earlier version", rig: true, long: true, prepare: earlier, do: upgraded},
	{name: "Secrets rotated", do: secretsRotated},
	{name: "node killed", rig: true, short: 20 * time.Second, full: 3 * time.Minute, do: nodeKilled},
	{name: "agents of a cluster begin, then its watchers", long: true, full: 30 * time.Second, do: agentsFirst},
	{name: "API servers away", rig: true, short: 20 * time.Second, full: 5 * time.Minute, do: apiServersAway},
}

// testFaults: nothing that happens makes any Pod hear a wrong answer, or none.
func testFaults(t *testing.T, f *fleet) {
	var all []*measure
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			if fault.rig && f.rig == "" {
				t.Skip("only the rig can do this")
			}
			m := &measure{fault: fault, lasts: fault.short}
			if os.Getenv(faultsEnv) != "" {
				m.lasts = fault.full
			} else if fault.long {
				t.Skip("this takes long: make e2e-faults")
			}
			if m.prepare != nil {
				m.prepare(t, f)
			}
			all = append(all, m)
			m.take(t, f)
		})
	}
	fmt.Print(table(all))
}

// take makes the fault and judges what was heard.
func (m *measure) take(t *testing.T, f *fleet) {
	f.settled(t, time.Now())
	before := map[*cluster]map[string]string{}
	for _, c := range f.clusters {
		before[c] = f.right(t, c)
	}
	askers, err := f.askers(t.Context())
	require.NoError(t, err)
	begin := time.Now()
	m.changed, m.anytime = map[*cluster]wants{}, anytime{}
	m.do(t, f, m)
	f.settled(t, time.Now(), m.without...)
	end := time.Now()
	want := map[*cluster]wants{}
	for _, c := range f.clusters {
		want[c] = wants{}
		after := f.right(t, c)
		for name, answer := range before[c] {
			want[c][name] = slices.Concat([]string{answer}, m.changed[c][name], []string{after[name]})
		}
	}
	askers = slices.DeleteFunc(askers, func(a asker) bool { return slices.Contains(m.without, a.node) })
	m.tally = f.judge(t, askers, begin, end, want, m.anytime, m.losing)
	t.Logf("%d queries, %d wrong, %d lost, %d slow, right after %.1f s; took %.1f s", m.queries, m.wrong, m.lost, m.slow, m.right.Seconds(), end.Sub(begin).Seconds())
	assert.Zero(t, m.wrong, "wrong answers, such as:\n%s", strings.Join(m.examples, "\n"))
	assert.Zero(t, m.lost, "lost answers, such as:\n%s", strings.Join(m.examples, "\n"))
	assert.Greater(t, m.queries, 100, "the Pods hardly asked")
}

// change gives the cluster's Service mark its other address.
func (f *fleet) change(t testing.TB, c *cluster) {
	t.Helper()
	f.marks[c.name] = 1 - f.marks[c.name]
	f.mark(t, c)
}

// table is what was measured, one fault a line.
func table(all []*measure) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "fault\tlasted\tqueries\twrong\tlost\tslow\tright after\t")
	for _, m := range all {
		if m.queries == 0 {
			fmt.Fprintf(w, "%s\tnot measured\t\t\t\t\t\t\n", m.name)
			continue
		}
		lasts := "-"
		if m.lasts > 0 {
			lasts = m.lasts.String()
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%.1f s\t\n", m.name, lasts, m.queries, m.wrong, m.lost, m.slow, m.right.Seconds())
	}
	w.Flush()
	return text.String()
}
