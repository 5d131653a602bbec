package replica

import (
	"context"
	"sync"
	"time"
)

// reviewSoon makes review look when it has to wake next.
func (p *Publisher) reviewSoon() {
	select {
	case p.reviewed <- struct{}{}:
	default:
	}
}

// review ends what is held back in its time, until ctx ends. A source that takes
// long to answer does not delay what asks it nothing.
func (p *Publisher) review(ctx context.Context) {
	var questions sync.WaitGroup
	defer questions.Wait()
	asking, answered := false, make(chan struct{}, 1)
	for {
		due := p.nextReview(asking)
		var timer <-chan time.Time // none: nothing is held
		if !due.IsZero() {
			timer = time.After(time.Until(due))
		}
		select {
		case <-ctx.Done():
			return
		case <-p.reviewed:
			continue
		case <-answered:
			asking = false
			continue
		case <-timer:
		}
		if p.endHoldDowns(time.Now()) && !asking {
			asking = true
			questions.Go(func() {
				p.confirmHeld(ctx)
				answered <- struct{}{}
			})
		}
	}
}

// nextReview is when something that is held is due; zero when nothing is held
// but what the source is being asked about.
func (p *Publisher) nextReview(asking bool) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	var due time.Time
	if len(p.guard.held) > 0 && !asking {
		due = p.guard.ask
	}
	for key, until := range p.down {
		if !p.pending[key] && (due.IsZero() || until.Before(due)) {
			due = until
		}
	}
	now := time.Now()
	for _, until := range p.downSets { // one record holds them all: others may be under way
		if (now.Before(until) || !p.pending[clusterKey]) && (due.IsZero() || until.Before(due)) {
			due = until
		}
	}
	return due
}

// endHoldDowns has gateways published that were held for long enough. It tells
// whether it is time to ask the source about removals.
func (p *Publisher) endHoldDowns(now time.Time) (ask bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := func(key string, until time.Time) {
		if !now.Before(until) {
			p.pending[key] = true
			p.urgent = true
			p.poke()
		}
	}
	for key, until := range p.down {
		end(key, until)
	}
	for _, until := range p.downSets {
		end(clusterKey, until)
	}
	return len(p.guard.held) > 0 && !now.Before(p.guard.ask)
}

// forgetHolds begins anew, as a leader does: another one may have published
// meanwhile, and what is lost is judged by what is published.
func (p *Publisher) forgetHolds() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.guard = newGuard()
	p.down, p.downSets = map[string]time.Time{}, map[string]time.Time{}
	p.replica.metrics.held.Set(0)
}
