package replica

import (
	"context"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Confirmer is a source that can be asked a second time.
type Confirmer interface {
	// Confirm reads the source anew, and not from what it remembers. It is nil
	// if none of the services in gone is exported, and none of those in emptied
	// has an endpoint. It may take as long as ctx lives.
	Confirm(ctx context.Context, gone, emptied []discovery.Key) error
}

const (
	// guardedServices is from how many on a loss of more than half is not
	// believed at once. With fewer, half of them is what people delete by hand.
	guardedServices = 20
	// guardTime is how long such a loss is held at least: an API server that
	// was restored empty, or a folder in the middle of a checkout, is noticed
	// or over by then. Losses within it count together, because a source may
	// tell of one event in many updates.
	guardTime = 30 * time.Second
	// confirmPause is how soon a source is asked again that did not confirm.
	confirmPause = 10 * time.Second
	// confirmTimeout bounds one question: 100,000 objects are listed in some
	// seconds.
	confirmTimeout = time.Minute
)

// guard holds back losses of more services at once than anybody means to lose.
// A loss is a service that goes, or one that had a ready endpoint and has now
// no endpoint at all, ready or not: where all endpoints vanish a moment before
// their services do, the records would else be emptied instead of withdrawn.
// (Pods that end or fail stay endpoints for a while, not ready; that is no
// loss, and never waits.) All of it belongs to Publisher.mu.
type guard struct {
	held    map[string]loss      // by item key; not published
	since   time.Time            // when the hold began; zero without one
	ask     time.Time            // when to ask for confirmation next
	told    string               // why the last question was not confirmed
	cleared map[string]bool      // confirmed, and to be published next
	recent  map[string]time.Time // losses that went out within guardTime
}

// loss is what a service is about to lose.
type loss int

const (
	noLoss  loss = iota
	gone         // its record
	emptied      // its endpoints
)

func newGuard() guard {
	return guard{held: map[string]loss{}, cleared: map[string]bool{}, recent: map[string]time.Time{}}
}

// passLocked tells whether losses may go out, of the services in a part.
// If not they are held, and whatever is lost until the hold ends with them:
// services that come back one after another must not release the last half.
func (p *Publisher) passLocked(losses map[string]loss, have *part, now time.Time) bool {
	g := &p.guard
	before := services(have)
	for key, at := range g.recent {
		if now.Sub(at) >= guardTime {
			delete(g.recent, key)
		} else if _, published := have.get(key); !published {
			before++ // one that was emptied is still among them
		}
	}
	lost := len(g.recent)
	for key := range losses {
		if _, counted := g.recent[key]; !counted {
			lost++
		}
	}
	if len(g.held) == 0 && (before < guardedServices || 2*lost <= before) {
		for key := range losses {
			g.recent[key] = now
		}
		return true
	}
	if g.since.IsZero() {
		g.since, g.ask, g.told = now, now.Add(guardTime), ""
		p.log.Warn("most services seem to be gone, their removal is held until the source confirms it",
			"lost", lost, "of", before, "at_least", guardTime.String())
		p.reviewSoon()
	}
	for key, what := range losses {
		g.held[key] = what
	}
	return false
}

// backLocked ends what the guard knows of a service that has nothing to lose.
// One that lost it a moment ago and is still without still counts.
func (g *guard) backLocked(key string, well bool) {
	delete(g.held, key)
	delete(g.cleared, key)
	if well {
		delete(g.recent, key)
	}
}

// settleLocked closes a hold that nothing is left of, and shows how much is.
func (p *Publisher) settleLocked() {
	g := &p.guard
	p.replica.metrics.held.Set(float64(len(g.held)))
	if len(g.held) > 0 || g.since.IsZero() {
		return
	}
	if len(g.cleared) == 0 {
		p.log.Info("services that seemed to be gone are back")
	}
	g.since, g.ask = time.Time{}, time.Time{}
}

// confirmHeld asks the source about what is held, and lets it go if it is so.
func (p *Publisher) confirmHeld(ctx context.Context) {
	held := map[string]loss{}
	var goneKeys, emptiedKeys []discovery.Key
	p.mu.Lock()
	for key, what := range p.guard.held {
		held[key] = what
		k, _ := parseServiceKey(key)
		if what == gone {
			goneKeys = append(goneKeys, k)
		} else {
			emptiedKeys = append(emptiedKeys, k)
		}
	}
	p.mu.Unlock()
	var err error
	if c := p.confirmer; c != nil && len(held) > 0 {
		asking, cancel := context.WithTimeout(ctx, confirmTimeout)
		err = c.Confirm(asking, goneKeys, emptiedKeys)
		cancel()
	}
	if ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.unconfirmedLocked(err)
		return
	}
	p.releaseLocked(held)
}

func (p *Publisher) unconfirmedLocked(err error) {
	g := &p.guard
	g.ask = time.Now().Add(confirmPause)
	if text := err.Error(); text != g.told {
		g.told = text
		p.log.Warn("removal of most services is not confirmed, they stay", "held", len(g.held), "error", err)
	}
}

// releaseLocked lets confirmed losses go, unless they are over or have become
// something else meanwhile.
func (p *Publisher) releaseLocked(confirmed map[string]loss) {
	g := &p.guard
	n := 0
	for key, what := range confirmed {
		if g.held[key] != what {
			continue
		}
		delete(g.held, key)
		g.cleared[key] = true
		p.pending[key] = true
		n++
	}
	g.ask = time.Now().Add(confirmPause)
	if n > 0 {
		clear(g.recent) // what was meant does not count against what follows
		p.log.Info("removal of services is confirmed", "removed", n, "still_held", len(g.held))
		p.urgent = true
		p.poke()
	}
	p.settleLocked()
}
