package replica

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// publishPending adds to the given epoch, and to no other: what another leader
// has published under its own epoch must not be added to.
func (p *Publisher) publishPending(epoch uint64) error {
	h, err := p.own(epoch)
	if err != nil {
		return err
	}
	return p.publish(&wire.Head{Epoch: h.Epoch, Seq: h.Seq + 1, Heartbeat: h.Heartbeat}, p.takePending())
}

// changes compares the named keys with what is published.
func (p *Publisher) changes(have *part, keys map[string]bool) (changed []item, removed []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range keys {
		was, published := have.get(key)
		want, wanted := p.desired[key]
		switch {
		case wanted:
			if it := newItem(key, want.value); !published || it.leaf != was.leaf {
				changed = append(changed, it)
			}
		case published:
			removed = append(removed, key)
		}
	}
	return changed, removed
}

// publish makes and spreads the next version, if anything did change. A new
// epoch is announced even without a change.
func (p *Publisher) publish(w *wire.Head, keys map[string]bool) error {
	r := p.replica
	_, have := r.store.get(r.cluster)
	if have == nil {
		have = emptyPart
	}
	changed, removed := p.changes(have, keys)
	if len(changed) == 0 && len(removed) == 0 && w.Seq > 1 {
		return nil
	}
	next := have.with(changed, removed)
	w.Clusterset, w.Cluster, w.Uid = r.store.clusterset, r.cluster, r.store.owner()
	w.Root, w.Items = next.root[:], uint32(next.items)
	h, err := sign(r.config.Identity, w)
	if err != nil {
		return err
	}
	if err := r.store.publish(h, have, next); err != nil {
		return err
	}
	r.metrics.published.Inc()
	a := &wire.Announcement{Head: h.bare(), Delta: &wire.Delta{BaseSeq: w.Seq - 1, Removed: removed}}
	for _, it := range changed {
		a.Delta.Changed = append(a.Delta.Changed, &wire.Item{Key: it.key, Value: it.value})
	}
	p.spread(h, a)
	return nil
}

// Run announces every 10 s that the cluster is alive, for as long as nobody
// has published under a newer epoch than this watcher. It does not take being
// elected: an API server that is down lets nobody renew a Lease, and the
// cluster would look dead to all others while its services are well.
func (p *Publisher) Run(ctx context.Context) error {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := p.beat(); err != nil && !errors.Is(err, errDeposed) {
			p.log.Error("heartbeat not sent", "error", err)
		}
	}
}

// beat makes the next heartbeat if the last version is ours.
func (p *Publisher) beat() error {
	r := p.replica
	have := r.store.heads.get(r.cluster)
	if have == nil || have.Epoch != p.epoch.Load() {
		return nil
	}
	w := proto.Clone(have.Head).(*wire.Head)
	w.Heartbeat++
	h, err := sign(r.config.Identity, w)
	if err != nil {
		return err
	}
	if err := r.store.publish(h, nil, nil); err != nil {
		return err
	}
	p.spread(h, &wire.Announcement{Head: h.bare()})
	return nil
}

// spread sends an announcement to peers and to agents.
func (p *Publisher) spread(h *head, a *wire.Announcement) {
	p.replica.announce(h, p.replica.push(a))
}
