package probe

import (
	"iter"
	"slices"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Result is what is known of one target that has an address.
type Result struct {
	Target Target // its identity: Health is zero
	State
}

// State is what is known of a target or of a gateway.
type State struct {
	Status Status
	// Since is when Status was decided; zero while nothing was.
	Since time.Time
	// RTT is the time that connecting takes. It is told anew only when it
	// moved by more than a tenth and more than 1 ms, at most every 10 s.
	RTT RTT
	// Error says why the last check failed, in one line; "" if it didn't.
	Error string
}

// Snapshot is the state of all targets at one time. It is immutable, and
// shares with the one before it what didn't change.
type Snapshot struct {
	// Generation grows with each snapshot of a prober.
	Generation uint64

	clusters map[string][]Result // sorted by Target
	outdated chan struct{}
}

func newSnapshot() *Snapshot { return &Snapshot{outdated: make(chan struct{})} }

// Outdated is closed when there is a newer snapshot. Any number of readers can
// wait for it, and none holds up the prober.
func (s *Snapshot) Outdated() <-chan struct{} { return s.outdated }

// Cluster returns the results of a cluster's targets, in a stable order. The
// slice is the same one until something in it changes; it must not be changed.
func (s *Snapshot) Cluster(name string) []Result { return s.clusters[name] }

// All goes through all clusters that have targets, in no order.
func (s *Snapshot) All() iter.Seq2[string, []Result] {
	return func(yield func(string, []Result) bool) {
		for name, results := range s.clusters {
			if !yield(name, results) {
				return
			}
		}
	}
}

// State is what is known of a target that has an address; its Health doesn't
// matter.
func (s *Snapshot) State(t Target) State {
	results := s.clusters[t.Cluster]
	t = t.identity()
	i, found := slices.BinarySearchFunc(results, t, func(r Result, t Target) int { return r.Target.compare(t) })
	if !found {
		return State{}
	}
	return results[i].State
}

// Gateway is what is known of a gateway of a cluster, checked at a port as
// discovery's CheckPort says: it is up while any of its addresses is, and down
// when all that are known are. Its round-trip time is that of the nearest
// address that is up.
func (s *Snapshot) Gateway(cluster string, g *discovery.Gateway, port uint16) State {
	var sum State
	if g.Hostname == "" {
		for i, a := range g.Addresses {
			sum = sum.with(s.State(gatewayTarget(cluster, g, a, port)), i == 0)
		}
		return sum
	}
	want, first := gatewayTarget(cluster, g, noAddr, port).identity(), true
	for _, r := range s.clusters[cluster] {
		t := r.Target
		t.Addr = noAddr
		if t == want {
			sum, first = sum.with(r.State, first), false
		}
	}
	return sum
}

// with is a gateway's state with one more address of it.
func (s State) with(o State, first bool) State {
	rank := func(s Status) int { return [statuses]int{Down: 0, Unknown: 1, Up: 2}[s] }
	switch {
	case first || rank(o.Status) > rank(s.Status):
		return o
	case rank(o.Status) < rank(s.Status):
		return s
	case s.Status == Up && o.RTT.Smoothed < s.RTT.Smoothed:
		return o
	case s.Status == Down && o.Since.After(s.Since): // the last one made it so
		return o
	}
	return s
}

// Told is how much of a state was published when; a probe keeps it.
type told struct {
	state State
	rtt   time.Time // when state.RTT was published
}

const (
	// quietRTT is the shortest time between two publications of a target's
	// round-trip time or error, and between two publications of nothing else.
	quietRTT = 10 * time.Second
	// gather is how long changes of status that come together are gathered: a
	// cluster that goes takes its gateways with it.
	gather = 100 * time.Millisecond
)

// tell is what to publish of a probe now.
func (t *told) tell(now time.Time, r *record, detail string) State {
	s := State{Status: r.status, Since: r.since, RTT: t.state.RTT, Error: detail}
	if r.rtt.moved(t.state.RTT) && !now.Before(t.rtt.Add(quietRTT)) {
		s.RTT, t.rtt = r.rtt, now
	}
	t.state = s
	return s
}
