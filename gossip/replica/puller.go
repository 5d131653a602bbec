package replica

import (
	"context"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// puller fetches parts that messages could not bring: one pull at a time for a
// cluster, some clusters at a time, with pauses between attempts that fail.
type puller struct {
	store *store
	// fetch gets a part from the attempt-th source for it; hint names a member
	// that claims to have it.
	fetch func(ctx context.Context, cluster, hint string, attempt int, base *part) (*pulled, error)
	// took is told of each pull that the store took.
	took func(h *head)
	// failed is told of each attempt that did not work.
	failed func(cluster string, attempt int, err error)
	// full counts what was not wanted for lack of room. It must not wait.
	full func()
	// giveUp tells whether an attempt (from 0) that did not work is the last; a
	// nil error means that what came was not new enough.
	giveUp func(attempt int, err error) bool

	wake chan struct{} // capacity 1

	mu    sync.Mutex
	wants map[string]*want     // guarded by mu
	slow  map[string]time.Time // sources that were slow, until when they are called so; guarded by mu
	good  map[string]bool      // sources whose last answer was good; guarded by mu
	moved chan struct{}        // closed and made anew when a pull has ended; guarded by mu

	retried time.Time // when retry last ended all pauses; guarded by mu
}

// want is a cluster whose part is to be pulled.
type want struct {
	version discovery.Version // at least this new
	proven  bool              // a signature says that the version exists, and not just a peer
	hint    string
	attempt int
	after   time.Time // not before
	running bool
	from    string            // the source of the attempt that runs
	began   time.Time         // when that began
	have    discovery.Version // what the last pull that worked has left us with
	renewed bool              // wanted newer, and proven, while a pull runs
	dropped bool              // wanted no longer, while a pull runs
}

// pulled is a pull's answer, bounded but not verified.
type pulled struct {
	head    *wire.SignedHead
	buckets []byte
	items   []item
}

const (
	// parallelPulls bounds the memory of parts that are built aside.
	parallelPulls = 4
	// claimedPulls of them may be for what a peer merely claims, so that peers
	// that claim much and answer slowly don't keep us from what is proven.
	claimedPulls = parallelPulls - 1
	// pullAttempts before a watcher stops believing that it can have a part;
	// the next digest or announcement renews it.
	pullAttempts = 10
	// refusedAttempts before it stops asking peers for a part that it refuses.
	refusedAttempts = 3
	pullPause       = 100 * time.Millisecond // doubled with each attempt
	maxPullPause    = 10 * time.Second
	// retryPause lets pullAttempts, whose pauses end early each time, take long
	// enough for peers that have too much to do for the moment.
	retryPause = time.Second
)

func newPullerFor(s *store) *puller {
	return &puller{store: s, wake: make(chan struct{}, 1), wants: map[string]*want{}, slow: map[string]time.Time{}, good: map[string]bool{}, moved: make(chan struct{})}
}

// want asks for a cluster's part to be pulled until it is at least as new as a
// version that is proven to exist. It tells whether that is news, and never
// waits.
func (p *puller) want(cluster string, v discovery.Version) bool {
	return p.wantFrom(cluster, v, "")
}

// wantFrom is want when a watcher of that very cluster has told us: it is asked
// first, because its sibling may be the one that it has replaced, which may
// stand still or hang without being missed yet. "" is nobody.
func (p *puller) wantFrom(cluster string, v discovery.Version, teller string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.wants[cluster]
	switch {
	case w == nil:
		if w = p.addLocked(cluster, true); w == nil {
			return false
		}
	case w.dropped || !w.proven || w.version.Less(v):
	case p.store.follows && w.version != v: // maybe another cluster under the name
	default:
		return false
	}
	*w = want{version: v, proven: true, hint: teller, have: w.have, running: w.running, from: w.from, began: w.began, renewed: w.running}
	p.poke()
	return true
}

// wantClaimed is want for a version that a peer claims to exist; hint is the
// member that claims to have it, "" if unknown. Raising a claim earns it no
// more attempts, and no claim stands in the way of what is proven.
func (p *puller) wantClaimed(cluster string, v discovery.Version, hint string) {
	if p.store.needless(cluster, v) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.wants[cluster]
	if w == nil {
		if w = p.addLocked(cluster, false); w == nil {
			return
		}
		p.poke()
	}
	if v.Less(w.version) {
		return
	}
	w.hint = hint
	if !w.proven {
		w.version = v
	}
}

// forget drops all wants: who told us of them is gone.
func (p *puller) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for cluster, w := range p.wants {
		if w.running {
			w.dropped = true
		} else {
			delete(p.wants, cluster)
		}
	}
}

// retry ends the pauses after attempts that failed: something has changed. Where
// that happens all the time, as when hundreds of watchers start, it does so
// every retryPause.
func (p *puller) retry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Now()
	if soonest := p.retried.Add(retryPause); at.Before(soonest) {
		at = soonest
	} else {
		p.retried = at
	}
	for _, w := range p.wants {
		if w.after.After(at) {
			w.after = at
		}
	}
	p.poke()
}

func (p *puller) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// caughtUp waits until each cluster that is wanted now is as new as it is
// wanted now, or given up. What is wanted later does not prolong that. It is
// false when ctx ended first.
func (p *puller) caughtUp(ctx context.Context) bool {
	return p.await(ctx, p.outstanding())
}

// caughtUpWith is caughtUp for one cluster alone.
func (p *puller) caughtUpWith(ctx context.Context, cluster string) bool {
	open := p.outstanding()
	maps.DeleteFunc(open, func(c string, _ awaited) bool { return c != cluster })
	return p.await(ctx, open)
}

func (p *puller) await(ctx context.Context, open map[string]awaited) bool {
	for {
		moved := p.prune(open)
		if len(open) == 0 {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-moved:
		}
	}
}

// awaited is a want that somebody waits for, and the version that will do.
type awaited struct {
	want    *want
	version discovery.Version
}

func (p *puller) outstanding() map[string]awaited {
	p.mu.Lock()
	defer p.mu.Unlock()
	open := make(map[string]awaited, len(p.wants))
	for cluster, w := range p.wants {
		open[cluster] = awaited{w, w.version}
	}
	return open
}

// prune takes out what has come to an end, and returns the channel that tells
// when to look again.
func (p *puller) prune(open map[string]awaited) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	for cluster, a := range open {
		if a.want != p.wants[cluster] || !a.want.have.Less(a.version) {
			delete(open, cluster)
		}
	}
	return p.moved
}

// run pulls until ctx ends and its pulls have stopped.
func (p *puller) run(ctx context.Context) error {
	var g errgroup.Group // of functions that have no errors
	g.SetLimit(parallelPulls)
	defer func() { _ = g.Wait() }()
	for ctx.Err() == nil {
		cluster, w, pause := p.next()
		if w != nil {
			g.Go(func() error {
				if err := p.pull(ctx, cluster, w); ctx.Err() == nil {
					p.finish(cluster, w, err)
				}
				return nil
			})
			continue
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// next picks a cluster that is due, one that is proven before those that are
// claimed, and returns a copy of its want, or says how long nothing is.
func (p *puller) next() (string, *want, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	pause := maxPullPause
	due, occupied := "", p.occupiedLocked(now)
	for cluster, w := range p.wants {
		switch wait := w.after.Sub(now); {
		case w.running:
		case wait > 0:
			pause = min(pause, wait)
		case !p.hasRoomLocked(occupied, cluster, w, now):
		case due == "" || w.proven:
			due = cluster
		}
	}
	w := p.wants[due]
	if w == nil {
		return "", nil, pause
	}
	w.running, w.from, w.began = true, w.source(due), now
	c := *w
	return due, &c, 0
}

// pull makes one attempt.
func (p *puller) pull(ctx context.Context, cluster string, w *want) error {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	_, base := p.store.get(cluster)
	if base == nil {
		base = emptyPart
	}
	got, err := p.fetch(ctx, cluster, w.hint, w.attempt, base)
	if err != nil {
		return err
	}
	h, result, err := p.store.adopt(cluster, got, base)
	if err != nil {
		return err
	}
	if result != old {
		p.took(h)
	}
	return nil
}

// finish ends an attempt: done when the store is as new as was wanted, else to
// be tried again after a pause, unless that was the last attempt.
func (p *puller) finish(cluster string, tried *want, err error) {
	if err != nil {
		p.failed(cluster, tried.attempt, err)
	}
	h := p.store.heads.get(cluster)
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.poke()
	close(p.moved)
	p.moved = make(chan struct{})
	p.rateLocked(tried, err)
	w := p.wants[cluster]
	w.running = false
	if err == nil && h != nil {
		w.have = h.version()
	}
	switch {
	case w.dropped, !p.store.accepts(cluster), err == nil && h != nil && !h.version().Less(w.version):
		delete(p.wants, cluster)
	case w.renewed:
		// A cluster that changes all the time is pulled as often as it would
		// publish small changes.
		w.renewed, w.after = false, time.Now().Add(coalesce)
	case p.giveUp(tried.attempt, err):
		delete(p.wants, cluster)
	default:
		w.attempt = tried.attempt + 1
		w.after = time.Now().Add(pauseAfter(tried.attempt))
	}
}

// pauseAfter grows with the attempts, and spreads the peers that begin at the
// same time.
func pauseAfter(attempt int) time.Duration {
	pause := min(pullPause<<min(attempt, 10), maxPullPause)
	return pause/2 + rand.N(pause/2)
}
