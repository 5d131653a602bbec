package discovery

import "sync/atomic"

// Entry is everything the clusterset knows of one service name: one candidate
// a cluster, ordered by cluster name. It is immutable; a change makes a new
// Entry.
type Entry struct {
	Key        Key
	Candidates []Candidate

	memos atomic.Pointer[memo]
}

// Candidate is one cluster's record of the name.
type Candidate struct {
	Cluster string
	Service *Service
}

// Candidate returns the record of one cluster, nil if it has none.
func (e *Entry) Candidate(cluster string) *Service {
	for _, c := range e.Candidates {
		if c.Cluster == cluster {
			return c.Service
		}
	}
	return nil
}

// memo is what one reader derived from an entry.
type memo struct {
	owner any
	value any
	next  *memo
}

// maxMemos is more than the stanzas of any sane Corefile times two, for the
// reload during which old and new ones run side by side. The oldest gives way.
const maxMemos = 8

// Memo returns what SetMemo stored for the owner, nil if nothing. It lets a
// reader keep what it built from an entry (the DNS plugin: its wire-ready
// answers) exactly as long as the entry lives, without an index of its own and
// without being told of changes. An owner is compared with ==; use a pointer.
func (e *Entry) Memo(owner any) any {
	for m := e.memos.Load(); m != nil; m = m.next {
		if m.owner == owner {
			return m.value
		}
	}
	return nil
}

// SetMemo stores a value for an owner; the owner's earlier value is dropped.
// Of two concurrent calls for one owner either may win, so a value must be
// one that can be built again.
func (e *Entry) SetMemo(owner, value any) {
	for {
		old := e.memos.Load()
		head := &memo{owner: owner, value: value}
		last := head
		kept := 1
		for m := old; m != nil && kept < maxMemos; m = m.next {
			if m.owner == owner {
				continue
			}
			last.next = &memo{owner: m.owner, value: m.value}
			last = last.next
			kept++
		}
		if e.memos.CompareAndSwap(old, head) {
			return
		}
	}
}
