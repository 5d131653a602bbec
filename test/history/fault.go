package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Rule names what a fault breaks.
type Rule string

// The rules.
const (
	Rollback     Rule = "rollback"     // a version does not go up on a node
	Equivocation Rule = "equivocation" // one version with two contents
	Stranger     Rule = "stranger"     // a cluster's uid changes
	BelowDisk    Rule = "below disk"   // an agent starts with less than it had on disk
	Returned     Rule = "returned"     // a record's content comes back that was replaced or removed
	Backwards    Rule = "backwards"    // a value goes back
	Resurrection Rule = "resurrection" // a service comes back that was removed
	Loss         Rule = "loss"         // a service goes, or is missing in the end, that nobody removed
	MadeUp       Rule = "made up"      // a value that nobody wrote
	Remains      Rule = "remains"      // a service is there in the end that was removed, or has an old value
	Dropped      Rule = "dropped"      // a node forgot a cluster
	Incomplete   Rule = "incomplete"   // the history has a hole, so that it proves nothing
)

// Fault is one break of a rule.
type Fault struct {
	Rule Rule
	Node Node
	Text string
	// Around is what happened before and after, one line each.
	Around []string
}

// String is the fault and what was around it.
func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, life %d: %s", f.Rule, f.Node.Name, f.Node.Life, f.Text)
	for _, line := range f.Around {
		b.WriteString("\n    " + line)
	}
	return b.String()
}

// Check judges a history by all rules, in the order of nodes.
func (h *History) Check() []Fault {
	h.mu.Lock()
	defer h.mu.Unlock()
	faults := h.versions()
	faults = append(faults, h.roots()...)
	faults = append(faults, h.contents()...)
	faults = append(faults, h.values()...)
	faults = append(faults, h.settled()...)
	slices.SortStableFunc(faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Node.Name, b.Node.Name), cmp.Compare(a.Node.Life, b.Node.Life))
	})
	return faults
}

// around are the commits of a node to a cluster next to the one with the given
// index.
func (h *History) around(at int) []string {
	const each = 6 // before and after: enough to see which leader wrote what
	c := h.commits[at]
	var lines []string
	mark := 0
	for i := range h.commits {
		o := &h.commits[i]
		if o.Node.Name != c.Node.Name || o.Cluster != c.Cluster {
			continue
		}
		sign := "  "
		if i == at {
			sign, mark = "> ", len(lines)
		}
		lines = append(lines, sign+o.String())
	}
	return lines[max(0, mark-each):min(len(lines), mark+each+1)]
}

// String is a commit in one line.
func (c Commit) String() string {
	if c.Dropped {
		return fmt.Sprintf("life %d line %d %s %s dropped", c.Life, c.Line, c.Time, c.Cluster)
	}
	var changed []string
	for key, digest := range c.Changed {
		changed = append(changed, key+"@"+digest)
	}
	slices.Sort(changed)
	return fmt.Sprintf("life %d line %d %s %s %d.%d root %s changed %v removed %v",
		c.Life, c.Line, c.Time, c.Cluster, c.Epoch, c.Seq, c.Root, changed, c.Removed)
}
