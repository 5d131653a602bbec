package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// errDeposed means that our own cluster's part is not what we published last:
// a higher epoch of it was seen, at a peer or at an agent.
var errDeposed = errors.New("another watcher publishes under a higher epoch")

// errNoEpochLeft means that somebody who had a key of our cluster has signed
// the highest epoch that peers take: nothing can follow it.
var errNoEpochLeft = errors.New("no epoch is left above what was signed in this cluster's name; " +
	"see \"When a key was stolen\" in the README of gossip/replica")

// errExpired means that our term has ended, although ctx has not yet.
var errExpired = errors.New("the term has ended unnoticed")

// Tenure is what [Epochs] may have, too: a term that can end unnoticed. A
// process that was stopped, or got no time, for longer than its Lease lasts goes
// on with what it was about to publish before anything tells it that it leads
// no longer. By the epoch that harms nobody who knows the next leader's; this
// spares those who don't yet.
type Tenure interface {
	// Holds tells without asking anybody whether the term may still last.
	Holds() bool
}

// expired tells whether a term is known to be over.
func expired(epochs Epochs) bool {
	t, ok := epochs.(Tenure)
	return ok && !t.Holds()
}

// Lead publishes until ctx ends: call it while this watcher is the elected
// one. It takes a new epoch first, so that whatever an earlier leader still
// sends is older than what this one says. When ctx ends it returns as soon as the
// cluster's other watchers have the last version: give up the Lease after that.
func (p *Publisher) Lead(ctx context.Context, epochs Epochs) error {
	for {
		err := p.reign(ctx, epochs)
		if ctx.Err() != nil {
			p.handOver(ctx)
			return nil
		}
		p.log.Warn("publishing interrupted", "error", err)
		// If the other watcher is the rightful leader, our own term has ended
		// by then and ctx with it, or Tenure says so.
		select {
		case <-ctx.Done():
			p.handOver(ctx)
			return nil
		case <-time.After(epochRetry):
		}
	}
}

const epochRetry = 2 * time.Second

// reign publishes under one epoch.
func (p *Publisher) reign(ctx context.Context, epochs Epochs) error {
	if err := p.waitSynced(ctx); err != nil {
		return err
	}
	p.replica.waitSettled(ctx)
	p.replica.inquire(ctx)
	if p.replica.judgeName(); p.replica.nameIsTaken() {
		return ErrNameTaken
	}
	if expired(epochs) {
		return errExpired // an epoch would depose the rightful leader
	}
	seen := p.replica.highestOwn()
	if seen >= maxEpoch { // before anything is stored that would have to be mended, too
		return errNoEpochLeft
	}
	epoch, err := epochs.NextEpoch(ctx, seen)
	switch {
	case err != nil:
		return fmt.Errorf("epoch: %w", err)
	case epoch > maxEpoch:
		return fmt.Errorf("%w: the store gave %d", errNoEpochLeft, epoch)
	case epoch <= seen:
		return fmt.Errorf("epoch: the store gave %d, which is not above %d", epoch, seen)
	}
	p.log.Info("publishing", "cluster", p.replica.cluster, "epoch", epoch)
	p.forgetHolds()
	if p.begins != nil {
		p.begins()
	}
	reviewing, stop := context.WithCancel(ctx)
	var reviews sync.WaitGroup
	reviews.Go(func() { p.review(reviewing) })
	defer reviews.Wait()
	defer stop()
	if err := p.accede(epoch); err != nil {
		return err
	}
	p.epoch.Store(epoch)
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.replica.overtaken:
			_, err = p.own(epoch)
		case <-p.wake:
			err = p.coalesce(ctx, last)
			switch {
			case err != nil:
			case expired(epochs):
				err = errExpired
			default:
				err = p.publishPending(epoch)
				last = time.Now()
			}
		}
		if err != nil {
			return err
		}
	}
}

// accede publishes a new epoch's first version. If we have our part, that is
// with the content it has, which peers take as the next version of what they
// hold. Changes follow as a delta: with them the first version would be one
// that all peers have to pull.
func (p *Publisher) accede(epoch uint64) error {
	p.pendAll()
	var keys map[string]bool
	if !p.replica.holdsOwn() {
		keys = p.takePending()
	}
	return p.publish(&wire.Head{Epoch: epoch, Seq: 1}, keys)
}

// own is the current head of our part, if it is still of the given epoch.
func (p *Publisher) own(epoch uint64) (*head, error) {
	h := p.replica.store.heads.get(p.replica.cluster)
	if h != nil && h.Retired && h.Uid == p.replica.store.owner() {
		return nil, errRetired // and not another watcher's doing
	}
	if h == nil || h.Epoch != epoch || p.replica.outdone(h) {
		return nil, errDeposed
	}
	return h, nil
}

// waitSynced waits for the source's whole set: publishing less would withdraw
// names that still exist.
func (p *Publisher) waitSynced(ctx context.Context) error {
	for {
		p.mu.Lock()
		synced := p.synced
		p.mu.Unlock()
		if synced {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.wake:
		}
	}
}

// coalesce waits until changes may go out: at once if the last publication is
// some time ago, and soon if something urgent is among them. When ctx ends first
// they are the next leader's to publish, and that is an error.
func (p *Publisher) coalesce(ctx context.Context, last time.Time) error {
	timer := time.NewTimer(coalesce - time.Since(last))
	defer timer.Stop()
	for {
		p.mu.Lock()
		urgent := p.urgent
		p.mu.Unlock()
		if urgent {
			timer.Reset(urgentPause - time.Since(last))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case <-p.wake:
		}
	}
}
