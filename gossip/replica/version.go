package replica

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
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

// changes compares the named keys with what is published, and leaves out what
// is to be held back.
func (p *Publisher) changes(have *part, keys map[string]bool) (changed []item, removed []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	losses := map[string]loss{}
	for key := range keys {
		if what := p.lossLocked(have, key); what == noLoss {
			want, wanted := p.desired[key]
			p.guard.backLocked(key, wanted && !want.bare)
		} else if !p.guard.cleared[key] {
			losses[key] = what
		}
	}
	pass := len(losses) == 0 || p.passLocked(losses, have, now)
	for key := range keys {
		if _, lost := losses[key]; lost && !pass {
			delete(p.down, key)
			continue
		}
		delete(p.guard.cleared, key)
		if it, remove := p.changeLocked(have, key, now); remove {
			removed = append(removed, key)
		} else if it != nil {
			changed = append(changed, *it)
		}
	}
	p.settleLocked()
	return changed, removed
}

// changeLocked is what leads to a key's wanted state: an item, or a removal, or
// neither.
func (p *Publisher) changeLocked(have *part, key string, now time.Time) (it *item, remove bool) {
	was, published := have.get(key)
	want, wanted := p.desired[key]
	if !wanted {
		delete(p.down, key)
		return nil, published
	}
	next := newItem(key, want.value)
	if published && next.leaf == was.leaf {
		delete(p.down, key)
		return nil, false
	}
	if next = newItem(key, p.heldDownLocked(key, p.published(key), want, now)); published && next.leaf == was.leaf {
		return nil, false
	}
	return &next, false
}

// lossLocked is what would be lost if a key's wanted state were published.
func (p *Publisher) lossLocked(have *part, key string) loss {
	if _, isService := parseServiceKey(key); !isService {
		return noLoss
	}
	want, wanted := p.desired[key]
	if !wanted {
		if _, published := have.get(key); published {
			return gone
		}
		return noLoss
	}
	if want.bare {
		if s := p.published(key); s != nil && s.Ready() > 0 {
			return emptied
		}
	}
	return noLoss
}

// published is a service of our own as the table has it, nil if it has none.
func (p *Publisher) published(key string) *discovery.Service {
	k, isService := parseServiceKey(key)
	if !isService {
		return nil
	}
	entry := p.replica.config.Table.Lookup(k)
	if entry == nil {
		return nil
	}
	return entry.Candidate(p.replica.cluster)
}

// services is how many of a part's items are services: all but the cluster's
// own record, in what this version publishes.
func services(p *part) int {
	if _, ok := p.get(clusterKey); ok {
		return p.items - 1
	}
	return p.items
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
