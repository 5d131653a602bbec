package history

import (
	"fmt"
	"strings"
)

// held is a node in one life with regard to one cluster.
type held struct {
	Node
	cluster string
}

// versions finds versions that don't go up, and lives that begin below their
// disk.
func (h *History) versions() []Fault {
	floor := map[held]Version{}
	for _, d := range h.disks {
		for cluster, v := range d.Versions {
			floor[held{d.Node, cluster}] = v
		}
	}
	var faults []Fault
	fault := func(at int, rule Rule, format string, args ...any) {
		faults = append(faults, Fault{Rule: rule, Node: h.commits[at].Node, Text: fmt.Sprintf(format, args...), Around: h.around(at)})
	}
	last := map[held]Version{}
	for i, c := range h.commits {
		key := held{c.Node, c.Cluster}
		if c.Dropped {
			fault(i, Dropped, "%s", c.Cluster)
			continue
		}
		before, had := last[key]
		disk, copied := floor[key]
		switch {
		case had && !before.Less(c.Version):
			fault(i, Rollback, "%s goes from %d.%d to %d.%d", c.Cluster, before.Epoch, before.Seq, c.Epoch, c.Seq)
		case !had && copied && c.Version.Less(disk):
			fault(i, BelowDisk, "%s starts with %d.%d, and %d.%d is on disk", c.Cluster, c.Epoch, c.Seq, disk.Epoch, disk.Seq)
		}
		last[key] = c.Version
	}
	return faults
}

// roots finds versions that have several contents, and clusters that have
// several uids.
func (h *History) roots() []Fault {
	type name struct {
		cluster string
		Version
	}
	first := map[name]int{}
	uids := map[string]int{}
	var faults []Fault
	for i, c := range h.commits {
		if c.Dropped {
			continue
		}
		key := name{c.Cluster, c.Version}
		if at, seen := first[key]; !seen {
			first[key] = i
		} else if o := h.commits[at]; o.Root != c.Root || o.Items != c.Items {
			faults = append(faults, Fault{
				Rule: Equivocation, Node: c.Node, Around: append(h.around(i), h.around(at)...),
				Text: fmt.Sprintf("%s %d.%d has root %s and %d items here, root %s and %d items on %s, life %d",
					c.Cluster, c.Epoch, c.Seq, c.Root, c.Items, o.Root, o.Items, o.Node.Name, o.Life),
			})
		}
		if at, seen := uids[c.Cluster]; !seen {
			uids[c.Cluster] = i
		} else if o := h.commits[at]; o.UID != c.UID {
			faults = append(faults, Fault{
				Rule: Stranger, Node: c.Node, Around: h.around(i),
				Text: fmt.Sprintf("%s has uid %s here, and %s on %s", c.Cluster, c.UID, o.UID, o.Node.Name),
			})
		}
	}
	return faults
}

// contents finds records whose content comes back on a node. For each restore
// of the cluster a key may go back once.
func (h *History) contents() []Fault {
	type record struct {
		held
		key string
	}
	const removed = ""
	past := map[record][]string{} // the digests of a life, the current one last
	allowed := map[string]int{}   // by cluster
	for _, r := range h.restores {
		allowed[r.Cluster]++
	}
	used := map[record]int{}
	var faults []Fault
	see := func(at int, key, digest string) {
		r := record{held{h.commits[at].Node, h.commits[at].Cluster}, key}
		was := past[r]
		if len(was) == 0 || was[len(was)-1] == digest {
			past[r] = append(was, digest)
			return
		}
		back := was[len(was)-1] == removed
		for _, d := range was {
			back = back || d == digest
		}
		if back && used[r] < allowed[r.cluster] {
			used[r]++
			past[r] = []string{digest}
			return
		}
		if back {
			faults = append(faults, Fault{
				Rule: Returned, Node: r.Node, Around: h.around(at),
				Text: fmt.Sprintf("%s %s was %s and is %s", r.cluster, key, strings.Join(quoted(was), ", "), quoted([]string{digest})[0]),
			})
		}
		past[r] = append(was, digest)
	}
	for i, c := range h.commits {
		for key, digest := range c.Changed {
			if isService(key) {
				see(i, key, digest)
			}
		}
		for _, key := range c.Removed {
			if isService(key) {
				see(i, key, removed)
			}
		}
	}
	return faults
}

// isService: a cluster's own record may well take an old content again, when
// its gateway or its nodes do.
func isService(key string) bool { return strings.HasPrefix(key, "s/") }

// quoted are digests for people.
func quoted(digests []string) []string {
	out := make([]string, len(digests))
	for i, d := range digests {
		if out[i] = d; d == "" {
			out[i] = "removed"
		}
	}
	return out
}
