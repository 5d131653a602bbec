package replica

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// gatewayNews is what a watcher knows at one time of other clusters' gateways.
// Immutable. Each stream remembers which it has told last, and catches up from
// there: nothing waits for a slow one but its next message, which has the rest.
type gatewayNews struct {
	generation uint64
	states     *GatewayStates // nil: nothing yet, and agents keep what they were told by others
	ours       bool           // found out by this watcher itself, so that siblings want it
	// step leads here from the generation before. 5,000 agents get the same.
	step     *wire.GatewayStates
	outdated chan struct{} // closed when there is a newer one
}

// since is what to send to who was told something before, nil for nothing; it is
// nil if that is nothing.
func (n *gatewayNews) since(told *gatewayNews) *wire.GatewayStates {
	switch {
	case n.states == nil:
		return nil
	case told == nil || told.states == nil:
		return n.states.encode()
	case told.generation+1 == n.generation:
		return n.step
	}
	return n.states.after(told.states)
}

// gatewayBoard is where a watcher's gateway states hang: its own while it
// checks, else those of the sibling that does.
type gatewayBoard struct {
	limits Limits
	now    atomic.Pointer[gatewayNews]

	mu     sync.Mutex  // of all who write
	source *source     // whose states these are; nil for our own, and when it has ended; guarded by mu
	kept   bool        // our own hold until a sibling has some; guarded by mu
	lapse  *time.Timer // runs while nobody goes on with them; guarded by mu
}

func newGatewayBoard(limits Limits) *gatewayBoard {
	b := &gatewayBoard{limits: limits}
	b.now.Store(&gatewayNews{outdated: make(chan struct{})})
	return b
}

func (b *gatewayBoard) load() *gatewayNews { return b.now.Load() }

func (b *gatewayBoard) putLocked(states *GatewayStates, ours bool) {
	before := b.load()
	if before.ours == ours && before.states.equal(states) {
		return
	}
	next := &gatewayNews{generation: before.generation + 1, states: states, ours: ours, outdated: make(chan struct{})}
	if before.states != nil && states != nil {
		next.step = states.after(before.states)
	}
	b.now.Store(next)
	close(before.outdated)
}

// publish puts our own states up.
func (b *gatewayBoard) publish(states *GatewayStates) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopLocked()
	b.source, b.kept = nil, false
	b.putLocked(states, true)
}

// keep puts our own states up unless a sibling's are; first tells that we
// listen to siblings from now on.
func (b *gatewayBoard) keep(states *GatewayStates) (kept, first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.load().ours {
		return false, false
	}
	first = !b.kept
	b.kept = true
	b.putLocked(states, true)
	return true, first
}

// yield leaves our last states up until a sibling has its own.
func (b *gatewayBoard) yield() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.load(); n.ours {
		b.kept = false
		b.putLocked(n.states, false)
		b.lapseLocked()
	}
}

// source is one stream from a sibling.
type source struct{ peer Peer }

// errTwoCheck is that somebody else checks than who sends.
var errTwoCheck = errors.New("another watcher checks gateways, too")

// hear takes a message of a sibling's stream. Of several who check, for the time
// in which one has not noticed that it should no more, the one that began last is
// right. The error is errTwoCheck for the others: their streams are to be opened
// anew, as what they told at first was not taken.
func (b *gatewayBoard) hear(from *source, w *wire.GatewayStates) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.load()
	switch {
	case n.ours && !b.kept:
		return nil // all streams are opened anew when we want to hear them
	case !w.GetWhole() && from != b.source:
		return errTwoCheck
	}
	states, err := n.states.with(w, b.limits)
	if err != nil {
		return err
	}
	b.stopLocked()
	b.source, b.kept = from, false
	b.putLocked(states, false)
	return nil
}

// leave says that a stream has ended, and tells whether it was the one whose
// states hold.
func (b *gatewayBoard) leave(from *source) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if from != b.source {
		return false
	}
	b.source = nil
	b.lapseLocked()
	return true
}

func (b *gatewayBoard) lapseLocked() {
	b.stopLocked()
	var timer *time.Timer
	timer = time.AfterFunc(gatewaysStay, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.lapse == timer && b.load().states != nil {
			// Not nil: our agents have to be told.
			b.putLocked(&GatewayStates{}, false)
		}
	})
	b.lapse = timer
}

func (b *gatewayBoard) stopLocked() {
	if b.lapse != nil {
		b.lapse.Stop()
		b.lapse = nil
	}
}

// SetGateways tells agents and siblings what our own checks have found. From
// then on, until YieldGateways, what siblings say is not listened to.
func (r *Replica) SetGateways(g *GatewayStates) {
	r.gateways.publish(r.bounded(g))
}

// KeepGateways is SetGateways for a watcher that is no more the one to check,
// when it isn't known whether there is another: from the first word of a sibling
// on, that holds, and KeepGateways does nothing and returns false.
func (r *Replica) KeepGateways(g *GatewayStates) bool {
	kept, first := r.gateways.keep(r.bounded(g))
	if first {
		r.listenAgain()
	}
	return kept
}

func (r *Replica) bounded(g *GatewayStates) *GatewayStates {
	states, leftOut := g.bounded(r.gateways.limits)
	if leftOut > 0 {
		r.warner.warn("gateways left out: too many", "addresses", leftOut)
	}
	return states
}

// YieldGateways says that this watcher checks no more. What it found stays until
// a sibling has something, for gatewaysStay at most.
func (r *Replica) YieldGateways() {
	r.gateways.yield()
	r.listenAgain()
}

// Gateways is what this watcher or a sibling has found, nil for nothing yet;
// outdated is closed when there is something newer.
func (r *Replica) Gateways() (states *GatewayStates, outdated <-chan struct{}) {
	n := r.gateways.load()
	return n.states, n.outdated
}
