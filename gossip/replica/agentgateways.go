package replica

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// Gateways is what the watcher last said of other clusters' gateways; nil before
// it said anything, and when nothing has been heard of it, or of another one, for
// so long that it says nothing about now (gatewaysStay). It is not kept on disk
// for the same reason. The pointer is the same until the content changes.
func (s *Subscriber) Gateways() *GatewayStates { return s.gateways.states.Load() }

// agentGateways are what an agent was told. The zero one was told nothing.
type agentGateways struct {
	states atomic.Pointer[GatewayStates]

	mu    sync.Mutex
	told  bool        // by the watcher that we are connected to; guarded by mu
	lapse *time.Timer // runs while no watcher says what holds; guarded by mu
}

// take takes a watcher's message. What another watcher said stays until this one
// has something to say: one that has just begun to check knows less.
func (g *agentGateways) take(w *wire.GatewayStates, limits Limits) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.states.Load()
	if !g.told && !w.GetWhole() { // what it differs from was never told to us
		return errMalformedGateways
	}
	states, err := before.with(w, limits)
	if err != nil {
		return err
	}
	g.told = true
	if g.lapse != nil {
		g.lapse.Stop()
		g.lapse = nil
	}
	if states != before {
		g.states.Store(states)
	}
	return nil
}

// leave says that the watcher is gone.
func (g *agentGateways) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.told = false
	if g.lapse != nil || g.states.Load() == nil {
		return // the time runs since the last one who said something left
	}
	var timer *time.Timer
	timer = time.AfterFunc(gatewaysStay, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.lapse == timer {
			g.lapse = nil
			g.states.Store(nil)
		}
	})
	g.lapse = timer
}
