package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// values finds answers that go back, come back, go or were never true.
func (h *History) values() []Fault {
	var faults []Fault
	keys := make([]series, 0, len(h.looks))
	for key := range h.looks {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b series) int {
		return cmp.Or(cmp.Compare(a.Node.Name, b.Node.Name), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Service.Name, b.Service.Name), cmp.Compare(a.Life, b.Life))
	})
	for _, key := range keys {
		j := judge{history: h, series: key}
		for i, l := range h.looks[key] {
			if rule, text := j.next(l); rule != "" {
				faults = append(faults, Fault{Rule: rule, Node: key.Node, Text: fmt.Sprintf("%s of %s: %s", key.Service.Name, key.Cluster, text), Around: h.story(key, i)})
			}
		}
	}
	return faults
}

// judge follows the answers of one node about one service.
type judge struct {
	series
	history *History
	value   int  // the last one
	gone    bool // it was there, and then it was not
	reached int  // how many of the cluster's restores have shown
}

// next judges one run of answers; no rule means that it breaks none.
func (j *judge) next(l look) (rule Rule, text string) {
	defer func() {
		j.gone = l.value == Absent && (j.gone || j.value != Absent)
		j.value = l.value
	}()
	switch {
	case l.value != Absent && !j.history.wrote(j.Service, l.value, l.first):
		return MadeUp, fmt.Sprintf("%d was not written by then", l.value)
	case l.value != Absent && j.gone:
		rule, text = Resurrection, fmt.Sprintf("%d after it was gone", l.value)
	case l.value != Absent && l.value < j.value:
		rule, text = Backwards, fmt.Sprintf("%d after %d", l.value, j.value)
	case l.value == Absent && j.value != Absent && !j.history.wrote(j.Service, Absent, l.first):
		rule, text = Loss, fmt.Sprintf("gone after %d, and nobody had removed it", j.value)
	}
	if rule != "" && j.restored(l) {
		return "", ""
	}
	return rule, text
}

// restored tells whether a restore explains an answer: one that began before
// it, and that this node has not shown yet.
func (j *judge) restored(l look) bool {
	n := 0
	for _, r := range j.history.restores {
		if r.Cluster != j.Cluster || !r.Began.Before(l.first) {
			continue
		}
		if n++; n <= j.reached {
			continue
		}
		if l.value == r.Truth[j.Service.Name] || l.value != Absent && j.history.wroteSince(j.Service, l.value, r.Began) {
			j.reached, j.gone = n, false
			return true
		}
	}
	return false
}

// wrote tells whether a value was asked for before a time.
func (h *History) wrote(s Service, value int, before time.Time) bool {
	for _, w := range h.writes[s] {
		if w.Value == value && !w.Began.After(before) {
			return true
		}
	}
	return false
}

func (h *History) wroteSince(s Service, value int, since time.Time) bool {
	for _, w := range h.writes[s] {
		if w.Value == value && w.Began.After(since) {
			return true
		}
	}
	return false
}

// settled compares what each node shows in the end with the truth.
func (h *History) settled() []Fault {
	truth := h.truthLocked()
	var faults []Fault
	for node, shows := range h.finals {
		for s, want := range truth {
			got, asked := shows[s]
			rule := Rule("")
			switch {
			case !asked:
				rule = Incomplete
			case got == want:
				continue
			case got == Absent:
				rule = Loss
			default:
				rule = Remains
			}
			faults = append(faults, Fault{
				Rule: rule, Node: Node{Name: node}, Around: told(h.written(s)),
				Text: fmt.Sprintf("in the end %s of %s is %s, and should be %s", s.Name, s.Cluster, shown(got), shown(want)),
			})
		}
	}
	if len(h.finals) == 0 && len(truth) > 0 {
		faults = append(faults, Fault{Rule: Incomplete, Text: "nobody was asked in the end"})
	}
	return faults
}

// story is what was written of a service and what the node answered in all its
// lives, in the order of time.
func (h *History) story(key series, at int) []string {
	events := h.written(key.Service)
	for other, runs := range h.looks {
		if other.Service != key.Service || other.Node.Name != key.Node.Name {
			continue
		}
		for i, l := range runs {
			sign := "  "
			if other == key && i == at {
				sign = "> "
			}
			events = append(events, event{l.first, fmt.Sprintf("%slife %d shows %s, %d times until %s", sign, other.Life, shown(l.value), l.times, stamp(l.last))})
		}
	}
	return told(events)
}

// written is what was asked for of a service, and what restores made of it.
func (h *History) written(s Service) []event {
	var events []event
	for _, w := range h.writes[s] {
		events = append(events, event{w.Began, "  written: " + shown(w.Value)})
	}
	for _, r := range h.restores {
		if r.Cluster == s.Cluster {
			events = append(events, event{r.Began, "  restored: " + shown(r.Truth[s.Name])})
		}
	}
	return events
}

// event is a line of a story.
type event struct {
	at   time.Time
	text string
}

// told are events in the order of time.
func told(events []event) []string {
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	lines := make([]string, len(events))
	for i, e := range events {
		lines[i] = stamp(e.at) + e.text
	}
	return lines
}

func shown(value int) string {
	if value == Absent {
		return "absent"
	}
	return fmt.Sprint(value)
}

func stamp(t time.Time) string { return t.UTC().Format("15:04:05.000") }
