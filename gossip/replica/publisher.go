package replica

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Epochs stores the highest epoch that this cluster ever published under.
type Epochs interface {
	// NextEpoch returns max(stored, atLeast) + 1 after it has stored it, by
	// compare-and-swap where several processes may ask.
	NextEpoch(ctx context.Context, atLeast uint64) (uint64, error)
}

// Publisher turns a source's updates into signed versions of the cluster's own
// part. Every watcher of a cluster has one that follows its source; only the
// one that leads publishes.
type Publisher struct {
	replica   *Replica
	log       *slog.Logger
	confirmer Confirmer     // nil: time alone confirms
	begins    func()        // nil: nobody is told
	wake      chan struct{} // capacity 1
	reviewed  chan struct{} // capacity 1: what is held has changed
	epoch     atomic.Uint64 // that we published under last, 0 if we never did

	mu      sync.Mutex
	synced  bool                 // the source has sent its whole set
	urgent  bool                 // something pending must not wait
	desired map[string]record    // by item key
	pending map[string]bool      // keys that may differ from what is published
	guard   guard                // against losing most services at once
	down    map[string]time.Time // keys of services whose gateways are held, and until when
	// downSets are the cluster's gateway sets that are held, and until when.
	downSets map[string]time.Time
}

// record is an encoded record and what decides how soon it must go out.
type record struct {
	value    []byte
	live     bool // has a ready endpoint
	bare     bool // is a service without any endpoint
	standing standing
	meant    bool // has the gateways that it is meant to have
}

// NewPublisher makes the publisher of the replica's own cluster.
func (r *Replica) NewPublisher() *Publisher {
	return &Publisher{
		replica: r, log: r.log, wake: make(chan struct{}, 1), reviewed: make(chan struct{}, 1),
		desired: map[string]record{}, pending: map[string]bool{},
		guard: newGuard(), down: map[string]time.Time{}, downSets: map[string]time.Time{},
	}
}

// ConfirmWith says whom to ask before most services are removed at once. Call
// it before Lead; without it such a removal only waits.
func (p *Publisher) ConfirmWith(c Confirmer) { p.confirmer = c }

// BeginWith says whom to tell that a term begins: what was published last is in
// the table by then, as far as it is known to anybody, and nothing goes out
// before f has returned. So f may Update what would otherwise take back what an
// earlier leader has found. Call it before Lead.
func (p *Publisher) BeginWith(f func()) { p.begins = f }

// Update takes what a source emits. It does not wait for anything. A service
// that breaks the model's bounds is left out and logged; the others go on.
func (p *Publisher) Update(u discovery.Update) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u.Cluster != nil {
		p.replica.claim(u.Cluster.UID)
		value, err := encodeCluster(u.Cluster)
		p.setLocked(clusterKey, record{value: value, live: true}, cmp.Or(u.Cluster.Validate(), err))
	}
	keep := map[string]bool{clusterKey: true}
	for _, s := range u.Services {
		key := serviceKey(s.Key())
		keep[key] = true
		value, err := encodeService(s)
		r := record{value: value, live: s.Ready() > 0, bare: s.Total() == 0, standing: standingOf(s), meant: u.Meant[s.Key()]}
		p.setLocked(key, r, cmp.Or(s.Validate(), err))
	}
	for _, key := range u.Removed {
		p.removeLocked(serviceKey(key))
	}
	if u.Whole {
		p.synced = true
		for key := range p.desired {
			if !keep[key] {
				p.removeLocked(key)
			}
		}
	}
	p.poke()
}

func (p *Publisher) setLocked(key string, r record, err error) {
	switch {
	case err != nil:
	case len(r.value) > p.replica.config.Limits.RecordBytes:
		err = fmt.Errorf("record of %d octets: %w", len(r.value), errTooLarge)
	case p.desired[key].value == nil && len(p.desired) >= p.replica.config.Limits.Items:
		err = errTooLarge
	}
	if err != nil {
		p.log.Error("service not published", "key", key, "error", err)
		p.removeLocked(key)
		return
	}
	before, known := p.desired[key]
	if known && before.live != r.live || !known {
		p.urgent = true
	}
	p.desired[key] = r
	p.pending[key] = true
}

func (p *Publisher) removeLocked(key string) {
	if _, known := p.desired[key]; known {
		delete(p.desired, key)
		p.pending[key] = true
		p.urgent = true
	}
}

func (p *Publisher) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// pendAll has all keys looked at that the source wants or that are published.
func (p *Publisher) pendAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.desired {
		p.pending[key] = true
	}
	if _, have := p.replica.store.get(p.replica.cluster); have != nil {
		for _, b := range have.buckets {
			for key := range b.each() {
				p.pending[key] = true
			}
		}
	}
	p.urgent = true
	p.poke()
}

func (p *Publisher) takePending() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := p.pending
	p.pending, p.urgent = map[string]bool{}, false
	return keys
}
