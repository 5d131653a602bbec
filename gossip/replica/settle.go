package replica

import (
	"context"
	"errors"
	"time"
)

const (
	// settleTime bounds how long a starting watcher waits for its peers. If
	// none answers it goes on alone: its own agents need it.
	settleTime = 5 * time.Second
	// wholeTime bounds how long agents wait beyond that for the parts that
	// peers were found to have. A thousand pulls over an ocean take longer.
	wholeTime = 30 * time.Second
	// ownPartPoll is how often we look for our own part when it was there and
	// had to go: it was another cluster's.
	ownPartPoll = time.Second
)

// settle waits for the first peer's digest and the pulls that follow from it.
// Only then do we know what the clusterset knows: a watcher that lost its disk
// goes on under the epoch that its peers remember, and no agent takes a table
// that is still being fetched for the whole.
func (r *Replica) settle(ctx context.Context) {
	defer close(r.whole)
	heard := r.hear(ctx)
	close(r.settled)
	r.judgeName()
	if heard {
		ctx, cancel := context.WithTimeout(ctx, wholeTime)
		defer cancel()
		r.puller.caughtUp(ctx)
	}
}

// hear gives peers their time to answer and tells whether one did.
func (r *Replica) hear(ctx context.Context) bool {
	if !r.config.ExpectPeers {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	select {
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			r.log.Warn("no peer answered yet, going on alone", "waited", settleTime.String())
		}
		return false
	case <-r.heard:
	}
	r.puller.caughtUp(ctx)
	return true
}

// waitSettled waits until settle has let publishing begin.
func (r *Replica) waitSettled(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-r.settled:
	}
}

// waitCurrent waits until agents may take our table for the whole: settle has
// ended, and our own cluster's part is there. Without that part, names of the
// own cluster would be answered with other clusters' gateways, or denied. It is
// false when ctx ended first.
func (r *Replica) waitCurrent(ctx context.Context) bool {
	for _, awaited := range []<-chan struct{}{r.whole, r.haveOwn} {
		select {
		case <-ctx.Done():
			return false
		case <-awaited:
		}
	}
	for !r.holdsOwn() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(ownPartPoll):
		}
	}
	return true
}

// Ready tells whether agents may take our table for the whole.
func (r *Replica) Ready() bool {
	select {
	case <-r.whole:
	default:
		return false
	}
	return r.holdsOwn()
}
