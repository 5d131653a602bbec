package history

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	agent   = Node{"agent of west", 1}
	watcher = Node{"watcher of east", 1}
	user    = Service{"east", "user"}
)

// at is a time so many seconds after the beginning.
func at(seconds int) time.Time { return time.Unix(1000+int64(seconds), 0) }

// commit is one of east's part with one service's record.
func commit(n Node, epoch, seq uint64, digest string) Commit {
	c := Commit{Node: n, Cluster: "east", UID: "u", Version: Version{epoch, seq}, Root: "root-" + digest, Items: 1}
	if digest == "" {
		c.Removed = []string{"s/shop/user"}
	} else {
		c.Changed = map[string]string{"s/shop/user": digest}
	}
	return c
}

// sound is a history without a fault: two writes, and two nodes that show them.
func sound() *History {
	h := New()
	h.Write(Write{user, 1, at(0)})
	h.Write(Write{user, 2, at(10)})
	for _, n := range []Node{agent, watcher} {
		h.Commit(commit(n, 1, 1, "a"), commit(n, 1, 2, "b"))
		for second, value := range []int{Absent, 1, 1, 2} {
			h.Look(n, user, value, at(1+5*second))
		}
		h.Final(n.Name, user, 2)
	}
	return h
}

func TestSoundHistories(t *testing.T) {
	for name, add := range map[string]func(h *History){
		"as it is": func(*History) {},
		"removed": func(h *History) {
			h.Write(Write{user, Absent, at(20)})
			h.Commit(commit(agent, 2, 1, ""))
			h.Look(agent, user, Absent, at(21))
			h.Final(agent.Name, user, Absent)
			h.Final(watcher.Name, user, Absent)
		},
		"seen before the write is acknowledged": func(h *History) {
			h.Write(Write{user, 3, at(20)})
			h.Look(agent, user, 3, at(20))
			h.Final(agent.Name, user, 3)
			h.Final(watcher.Name, user, 3)
		},
		"a new epoch with the same content": func(h *History) {
			h.Commit(Commit{Node: agent, Cluster: "east", UID: "u", Version: Version{2, 1}, Root: "r", Items: 1})
		},
		"a watcher that begins anew": func(h *History) {
			next := Node{watcher.Name, 2}
			h.Commit(commit(next, 1, 1, "a"), commit(next, 2, 1, "b"))
			h.Look(next, user, Absent, at(30))
			h.Look(next, user, 2, at(31))
		},
		"an agent that goes back to its disk": func(h *History) {
			next := Node{agent.Name, 2}
			h.Disk(Disk{next, map[string]Version{"east": {1, 1}}})
			h.Commit(commit(next, 1, 1, "a"))
			h.Look(next, user, 1, at(30))
		},
		"restored to before the last write": func(h *History) {
			h.Restore(Restore{"east", at(20), map[string]int{"user": 1}})
			h.Commit(commit(agent, 2, 1, "a"))
			h.Look(agent, user, 1, at(30))
			h.Final(agent.Name, user, 1)
			h.Final(watcher.Name, user, 1)
		},
		"restored to before the first write": func(h *History) {
			h.Restore(Restore{"east", at(20), nil})
			h.Commit(commit(agent, 2, 1, ""))
			h.Look(agent, user, Absent, at(30))
			h.Final(agent.Name, user, Absent)
			h.Final(watcher.Name, user, Absent)
		},
		"restored to before the removal": func(h *History) {
			h.Write(Write{user, Absent, at(20)})
			h.Commit(commit(agent, 1, 3, ""))
			h.Look(agent, user, Absent, at(21))
			h.Restore(Restore{"east", at(25), map[string]int{"user": 2}})
			h.Commit(commit(agent, 1, 4, "b"))
			h.Look(agent, user, 2, at(30))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := sound()
			add(h)
			require.Empty(t, h.Check())
		})
	}
}

// TestFaultsAreFound plants one fault in a sound history.
func TestFaultsAreFound(t *testing.T) {
	for name, plant := range map[string]struct {
		rule Rule
		text string
		add  func(h *History)
	}{
		"older seq": {Rollback, "east goes from 1.2 to 1.1", func(h *History) {
			h.Commit(Commit{Node: agent, Cluster: "east", UID: "u", Version: Version{1, 1}, Root: "root-a", Items: 1})
		}},
		"same version": {Rollback, "east goes from 1.2 to 1.2", func(h *History) {
			h.Commit(Commit{Node: agent, Cluster: "east", UID: "u", Version: Version{1, 2}, Root: "root-b", Items: 1})
		}},
		"older epoch": {Rollback, "east goes from 2.1 to 1.9", func(h *History) {
			h.Commit(Commit{Node: agent, Cluster: "east", UID: "u", Version: Version{2, 1}}, Commit{Node: agent, Cluster: "east", UID: "u", Version: Version{1, 9}})
		}},
		"two contents": {Equivocation, "root root-c and 1 items here, root root-b and 1 items on agent of west", func(h *History) {
			h.Commit(commit(Node{"agent of north", 1}, 1, 2, "c"))
		}},
		"two contents over lives": {Equivocation, "root root-c", func(h *History) { h.Commit(commit(Node{watcher.Name, 2}, 1, 2, "c")) }},
		"two uids": {Stranger, "uid v here", func(h *History) {
			h.Commit(Commit{Node: agent, Cluster: "east", UID: "v", Version: Version{2, 1}})
		}},
		"below disk": {BelowDisk, "starts with 1.1, and 1.2 is on disk", func(h *History) {
			next := Node{agent.Name, 2}
			h.Disk(Disk{next, map[string]Version{"east": {1, 2}}})
			h.Commit(commit(next, 1, 1, "a"))
		}},
		"an older content under a newer version": {Returned, "s/shop/user was a, b and is a", func(h *History) { h.Commit(commit(agent, 2, 1, "a")) }},
		"a removed one": {Returned, "was a, b, removed and is b", func(h *History) {
			h.Commit(commit(agent, 2, 1, ""), commit(agent, 2, 2, "b"))
		}},
		"any content after a removal": {Returned, "removed and is c", func(h *History) {
			h.Commit(commit(agent, 2, 1, ""), commit(agent, 2, 2, "c"))
		}},
		"an older value": {Backwards, "user of east: 1 after 2", func(h *History) { h.Look(agent, user, 1, at(30)) }},
		"a value after the removal": {Resurrection, "3 after it was gone", func(h *History) {
			h.Write(Write{user, Absent, at(20)})
			h.Write(Write{user, 3, at(21)})
			h.Look(agent, user, Absent, at(22))
			h.Look(agent, user, 3, at(23))
			h.Final(agent.Name, user, 3)
			h.Final(watcher.Name, user, 3)
		}},
		"gone for a moment": {Loss, "gone after 2", func(h *History) { h.Look(agent, user, Absent, at(30)) }},
		"gone before the removal": {Loss, "gone after 2", func(h *History) {
			h.Look(agent, user, Absent, at(30))
			h.Write(Write{user, Absent, at(31)})
			h.Final(agent.Name, user, Absent)
			h.Final(watcher.Name, user, Absent)
		}},
		"a value that nobody wrote": {MadeUp, "7 was not written", func(h *History) { h.Look(agent, user, 7, at(30)) }},
		"a value too early":         {MadeUp, "1 was not written by then", func(h *History) { h.Look(Node{"x", 1}, user, 1, at(-1)) }},
		"lost in the end":           {Loss, "in the end user of east is absent, and should be 2", func(h *History) { h.Final(agent.Name, user, Absent) }},
		"old in the end":            {Remains, "is 1, and should be 2", func(h *History) { h.Final(agent.Name, user, 1) }},
		"there in the end": {Remains, "is 2, and should be absent", func(h *History) {
			h.Write(Write{user, Absent, at(20)})
			h.Final(watcher.Name, user, Absent)
		}},
		"not asked in the end": {Incomplete, "in the end", func(h *History) { h.Final("x", Service{"east", "other"}, Absent) }},
		"dropped":              {Dropped, "east", func(h *History) { h.Commit(Commit{Node: agent, Cluster: "east", Dropped: true}) }},
		"back twice after one restore": {Backwards, "1 after 2", func(h *History) {
			h.Restore(Restore{"east", at(20), map[string]int{"user": 2}})
			h.Look(agent, user, 1, at(30))
		}},
		"old again after the restore": {Backwards, "1 after 3", func(h *History) {
			h.Restore(Restore{"east", at(20), map[string]int{"user": 1}})
			h.Look(agent, user, 1, at(30))
			h.Write(Write{user, 3, at(31)})
			h.Look(agent, user, 3, at(32))
			h.Look(agent, user, 1, at(33))
			h.Final(agent.Name, user, 3)
			h.Final(watcher.Name, user, 3)
		}},
		"back before the restore": {Backwards, "1 after 2", func(h *History) {
			h.Look(agent, user, 1, at(19))
			h.Look(agent, user, 2, at(20))
			h.Restore(Restore{"east", at(21), map[string]int{"user": 2}})
		}},
		"restored, and not followed": {Remains, "is 2, and should be 1", func(h *History) {
			h.Restore(Restore{"east", at(20), map[string]int{"user": 1}})
			h.Final(agent.Name, user, 1)
		}},
		"another cluster's restore": {Backwards, "1 after 2", func(h *History) {
			h.Restore(Restore{"west", at(20), map[string]int{"user": 1}})
			h.Look(agent, user, 1, at(30))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := sound()
			plant.add(h)
			faults := h.Check()
			require.NotEmpty(t, faults)
			for _, f := range faults {
				require.Equal(t, plant.rule, f.Rule, "%s", f)
			}
			require.Contains(t, faults[0].String(), plant.text)
		})
	}
}

func TestNobodyAsked(t *testing.T) {
	h := New()
	h.Write(Write{user, 1, at(0)})
	require.Len(t, h.Check(), 1)
	require.Equal(t, Incomplete, h.Check()[0].Rule)
}
