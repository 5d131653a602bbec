package sim

import (
	"fmt"
	"time"
)

// Scenario is one row of the table.
type Scenario struct {
	Clusters int
	Services int // of each cluster
	Link     Link
	Seed     uint64
	During   time.Duration // of the load whose changes and octets are measured
}

const (
	// startPatience is how long a clusterset may take until all tables are equal.
	startPatience = 10 * time.Minute
	// runIn is how long the load runs before it is measured, so that what the
	// start left behind is gone.
	runIn = 30 * time.Second
	// changePatience is how long after the load its last changes are waited for.
	changePatience = 2 * time.Minute
)

// Result is what a scenario showed.
type Result struct {
	Scenario
	Start     time.Duration // until all tables were equal
	StartCost Spread        // octets each watcher sent until then
	Convergence
	Sent, Received Spread // while the load ran
	Overrun        int64  // packets that found a full buffer
}

// Spread is what watchers count, all together and the one that counts most.
type Spread struct {
	Watchers int
	Sum, Max Octets
}

func (s *Spread) add(o Octets) {
	s.Watchers++
	s.Sum = s.Sum.Add(o)
	if o.Total() > s.Max.Total() {
		s.Max = o
	}
}

// Run plays the scenario. It is to be called in a bubble.
func (c Scenario) Run() (*Result, error) {
	s, err := NewClusterset(c.Clusters, c.Services, c.Link, c.Seed)
	if err != nil {
		return nil, err
	}
	s.Start()
	defer s.Stop()
	r := &Result{Scenario: c}
	var equal bool
	if r.Start, equal = s.AwaitEqual(startPatience); !equal {
		return nil, fmt.Errorf("tables differ %s after the start", r.Start)
	}
	for _, w := range s.Watchers {
		r.StartCost.add(w.Port.meters.sent.read())
	}
	s.Churn(runIn)
	r.measure(s)
	if took, equal := s.AwaitEqual(changePatience); !equal {
		return nil, fmt.Errorf("tables differ %s after the last change", took)
	}
	return r, s.Correct()
}

// measure runs the load and counts what it costs.
func (r *Result) measure(s *Clusterset) {
	type reading struct{ sent, received Octets }
	before := make([]reading, len(s.Watchers))
	for i, w := range s.Watchers {
		before[i] = reading{w.Port.meters.sent.read(), w.Port.meters.received.read()}
		r.Overrun -= w.Port.meters.overrun.Load()
	}
	done := make(chan struct{})
	time.AfterFunc(r.During, func() {
		defer close(done)
		for i, w := range s.Watchers {
			r.Sent.add(w.Port.meters.sent.read().Sub(before[i].sent))
			r.Received.add(w.Port.meters.received.read().Sub(before[i].received))
			r.Overrun += w.Port.meters.overrun.Load()
		}
	})
	r.Convergence = *s.Load(r.During, changePatience)
	<-done
}
