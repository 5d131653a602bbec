package sim

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Event is something that happens to a clusterset which runs and changes.
type Event struct {
	Name string
	// Do makes it happen and tells how long the clusterset took to get over it.
	Do func(s *Clusterset) (time.Duration, error)
	// Bar is how long it may take; 0 is as long as it likes.
	Bar time.Duration
}

// Recovery is a row of the table of events.
type Recovery struct {
	Scenario
	Event string
	Took  time.Duration
	Bar   time.Duration
}

// patience is how long an event may take to get over.
const patience = 15 * time.Minute

var errNever = errors.New("tables still differ")

// Play brings a clusterset up, lets it run for During, and makes the event
// happen. To be called in a bubble.
func (c Scenario) Play(e Event) (*Recovery, error) {
	s, err := NewClusterset(c.Clusters, c.Services, c.Link, c.Seed)
	if err != nil {
		return nil, err
	}
	s.Start()
	defer s.Stop()
	if took, equal := s.AwaitEqual(startPatience); !equal {
		return nil, fmt.Errorf("start: %w after %s", errNever, took)
	}
	s.Churn(c.During)
	r := &Recovery{Scenario: c, Event: e.Name, Bar: e.Bar}
	if r.Took, err = e.Do(s); err != nil {
		return nil, fmt.Errorf("%s: %w after %s", e.Name, err, r.Took)
	}
	if took, equal := s.AwaitEqual(patience); !equal {
		return nil, fmt.Errorf("%s: %w after %s", e.Name, errNever, took)
	}
	return r, s.Correct()
}

// Split cuts half of the clusters from the other half for a time, during which
// both change. It takes until all tables are equal and all are members again.
func Split(during time.Duration) Event {
	return Event{
		Name: fmt.Sprintf("half the clusters cut off for %s", during), Bar: time.Minute,
		Do: func(s *Clusterset) (time.Duration, error) {
			half := map[*Port]bool{}
			for i, c := range s.Clusters {
				for _, w := range c.Watchers {
					half[w.Port] = i%2 == 0
				}
			}
			s.Net.Partition(func(a, b *Port) bool { return half[a] != half[b] })
			s.Churn(during)
			s.Net.Partition(nil)
			return s.await(func() bool { return s.Equal() && s.Together() })
		},
	}
}

// FailOver deposes the first cluster's leader. It takes until all watchers show
// the next change, which the sibling publishes. What a Lease takes to change
// hands is left out.
func FailOver() Event {
	return Event{
		Name: "leader stops, its sibling leads", Bar: 10 * time.Second,
		Do: func(s *Clusterset) (time.Duration, error) {
			c := s.Clusters[0]
			c.failOver(s.ctx, &s.wg)
			ch := &change{key: c.serviceKey(0), cluster: c.Name, ready: c.change(0)}
			return s.await(func() bool {
				for _, w := range s.Watchers {
					if !ch.shownBy(w.Table) {
						return false
					}
				}
				return true
			})
		},
	}
}

// Crash kills a watcher without a farewell and starts another with its name and
// address and nothing in memory. It takes until that one's table is equal to
// the others'.
func Crash() Event {
	return Event{
		Name: "a watcher dies and begins anew", Bar: 10 * time.Second,
		Do: func(s *Clusterset) (time.Duration, error) {
			c := s.Clusters[len(s.Clusters)-1]
			if err := s.replace(c, (c.leader+1)%len(c.Watchers)); err != nil {
				return 0, err
			}
			return s.await(s.Equal)
		},
	}
}

// await polls until something is so.
func (s *Clusterset) await(so func() bool) (time.Duration, error) {
	begun := time.Now()
	for !so() {
		if time.Since(begun) >= patience {
			return time.Since(begun), errNever
		}
		time.Sleep(pollEvery)
	}
	return time.Since(begun), nil
}

// WriteRecoveries prints what events took as a table in Markdown.
func WriteRecoveries(w io.Writer, rows []*Recovery) {
	fmt.Fprintln(w, "| event | clusters | services | loss | took | bar |")
	fmt.Fprintln(w, "|---|---:|---:|---:|---:|---:|")
	for _, r := range rows {
		fmt.Fprintf(w, "| %s | %d | %d | %g %% | %.1f s | %.0f s |\n", r.Event, r.Clusters, r.Services, 100*r.Link.Loss, r.Took.Seconds(), r.Bar.Seconds())
	}
}
