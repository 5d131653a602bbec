package isthmus

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
)

// reverser keeps the reverseIndex of a link, as long as a stanza has a reverse
// zone. It belongs to the link, so that a reload finds it as it was.
type reverser struct {
	link    link
	names   *resolver
	logger  *slog.Logger
	wake    chan struct{} // has room for one
	wanted  atomic.Int32  // stanzas with a reverse zone
	current atomic.Pointer[reverseIndex]
}

// reverseSweep is what the reverser remembers of its last look.
type reverseSweep struct {
	seen   reverseState
	walked time.Time
	warned bool
}

// reverseState changes whenever the index may have to.
type reverseState struct {
	first *discovery.ClusterState // moves with every change of the table
	view  *View
	names uint64 // generation of the resolver
}

func newReverser(l link, names *resolver, logger *slog.Logger) *reverser {
	return &reverser{link: l, names: names, logger: logger, wake: make(chan struct{}, 1)}
}

// index is nil until there is one, and while no stanza has a reverse zone.
func (r *reverser) index() *reverseIndex {
	if r == nil {
		return nil
	}
	return r.current.Load()
}

// want counts the stanzas that have a reverse zone.
func (r *reverser) want(change int32) {
	r.wanted.Add(change)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// prime makes the first index at once if there is something to make it of, so
// that a stanza which a reload gives its first reverse zone answers for it from
// its first query, and is as ready as the one before.
func (r *reverser) prime() {
	view := r.link.View()
	if r.current.Load() != nil || view == nil || !r.link.Table().Loaded() {
		return
	}
	x, _ := buildReverse(r.link.Table(), view, r.names.knownAddrs)
	r.current.CompareAndSwap(nil, x) // Run makes the next one
}

// Run keeps the index until ctx ends.
func (r *reverser) Run(ctx context.Context) {
	tick := time.NewTicker(resolveTick)
	defer tick.Stop()
	var s reverseSweep
	for {
		r.sweep(&s)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.wake:
		}
	}
}

// sweep builds the index anew when something has changed, but not more often
// than walkServices: it takes 50 to 100 ms at 100,000 services.
func (r *reverser) sweep(s *reverseSweep) {
	if r.wanted.Load() <= 0 {
		r.current.Store(nil)
		return
	}
	// What can change meanwhile is read first.
	state := reverseState{first: firstState(r.link.Table()), view: r.link.View(), names: r.names.Generation()}
	if state.view == nil || !r.link.Table().Loaded() {
		return
	}
	if r.current.Load() != nil && (state == s.seen || time.Since(s.walked) < walkServices) {
		return
	}
	s.seen, s.walked = state, time.Now()
	x, cut := buildReverse(r.link.Table(), state.view, r.names.knownAddrs)
	r.current.Store(x)
	if cut && !s.warned {
		r.logger.Warn("too many addresses of gateways or endpoints, not all of them have a PTR record")
	}
	s.warned = cut
}

// firstState tells a table's states apart: it moves with every change.
func firstState(t *discovery.Table) *discovery.ClusterState {
	clusters := t.Clusters()
	if len(clusters) == 0 {
		return nil
	}
	return &clusters[0]
}

// knownAddrs is Addrs without taking the name up: the resolver's own sweep
// does that, and there may be more names than it keeps.
func (r *resolver) knownAddrs(_, host string) (addrs []netip.Addr, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, found := r.names[host]
	if !found {
		return nil, false
	}
	return n.all, n.known
}
