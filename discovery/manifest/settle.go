package manifest

import (
	"slices"
	"strings"
	"time"
)

// How long after its last event a file is read. An editor or os.WriteFile
// truncates and writes within a fraction of a millisecond; the wait is part of
// the time from a change to the answers of other clusters, so it is short.
const (
	settleQuiet = 5 * time.Millisecond
	// settleMax is when a file is read although events go on.
	settleMax = 50 * time.Millisecond
)

// rescan stands among the names of files for "look at the whole directory".
const rescan = ""

// settler remembers which files had events and when each may be read.
type settler struct {
	pending map[string]pending
	// wake is not later than the first due time; zero when nothing pends. An
	// event only ever moves a due time back, so it needs no search per event.
	wake time.Time
}

type pending struct {
	name       string
	first, due time.Time
}

func newSettler() *settler { return &settler{pending: map[string]pending{}} }

// touch notes an event. A directory may see more names than MaxFiles over
// time: then one look at all of it is cheaper than the list.
func (s *settler) touch(name string, now time.Time) {
	if len(s.pending) >= MaxFiles {
		s.clear()
		name = rescan
	}
	p, known := s.pending[name]
	if !known {
		p = pending{name: name, first: now}
	}
	p.due = now.Add(settleQuiet)
	if latest := p.first.Add(settleMax); latest.Before(p.due) {
		p.due = latest
	}
	s.put(p)
}

// postpone puts back a file that was due and is not ready to be believed.
func (s *settler) postpone(p pending, until time.Time) {
	p.due = until
	s.put(p)
}

func (s *settler) put(p pending) {
	s.pending[p.name] = p
	if s.wake.IsZero() || p.due.Before(s.wake) {
		s.wake = p.due
	}
}

// take removes and returns what is due, ordered by name.
func (s *settler) take(now time.Time) []pending {
	var due []pending
	s.wake = time.Time{}
	for name, p := range s.pending {
		switch {
		case !p.due.After(now):
			due = append(due, p)
			delete(s.pending, name)
		case s.wake.IsZero() || p.due.Before(s.wake):
			s.wake = p.due
		}
	}
	slices.SortFunc(due, func(x, y pending) int { return strings.Compare(x.name, y.name) })
	return due
}

func (s *settler) clear() {
	clear(s.pending)
	s.wake = time.Time{}
}
