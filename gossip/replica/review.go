package replica

import (
	"context"
	"time"
)

// reviewSoon makes review look when it has to wake next.
func (p *Publisher) reviewSoon() {
	select {
	case p.reviewed <- struct{}{}:
	default:
	}
}

// review ends what is held back in its time, until ctx ends.
func (p *Publisher) review(ctx context.Context) {
	for {
		due := p.nextReview()
		var timer <-chan time.Time // none: nothing is held
		if !due.IsZero() {
			timer = time.After(time.Until(due))
		}
		select {
		case <-ctx.Done():
			return
		case <-p.reviewed:
			continue
		case <-timer:
		}
		if p.endHoldDowns(time.Now()) {
			p.confirmHeld(ctx)
		}
	}
}

// nextReview is when something that is held is due; zero when nothing is held.
func (p *Publisher) nextReview() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	var due time.Time
	if len(p.guard.held) > 0 {
		due = p.guard.ask
	}
	for key, until := range p.down {
		if !p.pending[key] && (due.IsZero() || until.Before(due)) {
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
	for key, until := range p.down {
		if !now.Before(until) {
			p.pending[key] = true
			p.urgent = true
			p.poke()
		}
	}
	return len(p.guard.held) > 0 && !now.Before(p.guard.ask)
}

// forgetHolds begins anew, as a leader does: another one may have published
// meanwhile, and what is lost is judged by what is published.
func (p *Publisher) forgetHolds() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.guard = newGuard()
	p.down = map[string]time.Time{}
	p.replica.metrics.held.Set(0)
}
