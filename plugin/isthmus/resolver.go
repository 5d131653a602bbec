package isthmus

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
)

const (
	// maxNames bounds the host names that are kept. A clusterset of 1,000
	// clusters with one load balancer each fits.
	maxNames = 1024
	// resolveTick is how soon the resolver notices a change of the table.
	resolveTick = time.Second
	// resolveTimeout gives up a lookup: Go's resolver asks two servers twice
	// in 10 s by default.
	resolveTimeout = 5 * time.Second
	// resolveWorkers bounds the names that are looked up at one time, each by
	// two queries.
	resolveWorkers = 8
	// walkServices bounds how often all services are searched for gateways of
	// their own, which takes about 10 ms at 100,000.
	walkServices = 5 * time.Second
)

// resolver keeps the addresses of gateways that have host names: a cloud's
// load balancer gives no more. It resolves what the table names before anyone
// asks, and again when the TTL has passed. Queries read from it and never wait
// for it.
//
// What the DNS says counts at once when it names addresses: the new ones take
// the place of the old ones, also where a load balancer tells a part of its
// addresses at a time, since an address that it has left out may be on its way
// out. A family that it has none of any more is gone with it. When lookups
// fail, the last good addresses stay for as long as the table has the name; when
// the DNS denies the name or both families, they stay for keepDenied.
type resolver struct {
	table      *discovery.Table
	lookup     lookupFunc
	logger     *slog.Logger
	wake       chan struct{} // has room for one
	generation atomic.Uint64

	mu    sync.Mutex
	names map[string]*resolved // guarded by mu
	full  bool                 // a name was refused since the last sweep; guarded by mu
}

func newResolver(t *discovery.Table, lookup lookupFunc, logger *slog.Logger) *resolver {
	return &resolver{
		table:  t,
		lookup: lookup,
		logger: logger,
		wake:   make(chan struct{}, 1),
		names:  map[string]*resolved{},
	}
}

// Generation changes whenever what Addrs returns does.
func (r *resolver) Generation() uint64 { return r.generation.Load() }

// Addrs returns the last known addresses of the host name of a cluster's
// gateway. A name that is not known yet is looked up soon; ok is false until
// then.
func (r *resolver) Addrs(cluster, host string) (addrs []netip.Addr, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, found := r.names[host]
	if !found {
		if r.addLocked(cluster, host) {
			r.poke()
		}
		return nil, false
	}
	return n.all, n.known
}

// addLocked takes up a name. When there is no room, it takes that of the
// cluster that has most, if this one has less: a cluster can't keep others'
// names out by the number of its own.
func (r *resolver) addLocked(cluster, host string) bool {
	if len(r.names) >= maxNames && !r.evictLocked(cluster) {
		r.full = true
		return false
	}
	r.names[host] = &resolved{cluster: cluster}
	return true
}

// evictLocked makes room for a cluster's name.
func (r *resolver) evictLocked(cluster string) bool {
	counts := map[string]int{}
	for _, n := range r.names {
		counts[n.cluster]++
	}
	most := cluster
	for c, count := range counts {
		if count > counts[most] || count == counts[most] && c < most {
			most = c
		}
	}
	if counts[most] <= counts[cluster]+1 {
		return false // they would only change places
	}
	for host, n := range r.names {
		if n.cluster == most {
			delete(r.names, host)
			r.generation.Add(1) // who was told its addresses must ask again
			break
		}
	}
	r.full = true
	return true
}

func (r *resolver) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run resolves until ctx ends, and returns when all lookups have.
func (r *resolver) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	defer workers.Wait()
	slots := make(chan struct{}, resolveWorkers)
	tick := time.NewTicker(resolveTick)
	defer tick.Stop()
	var sweep sweep
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		r.sweep(&sweep)
		if host, due := r.next(time.Now()); due {
			workers.Go(func() {
				r.resolve(ctx, host)
				<-slots
			})
			continue
		}
		<-slots
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-r.wake:
		}
	}
}

// next takes the name to look up next, if one is due: of the cluster that
// occupies the fewest workers, one that didn't fail last time, the longest due.
// So names that nobody answers for delay only names of their own cluster.
func (r *resolver) next(now time.Time) (host string, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	busy := map[string]int{}
	for _, n := range r.names {
		if n.busy {
			busy[n.cluster]++
		}
	}
	var best *resolved
	for h, n := range r.names {
		if n.busy || now.Before(n.due) {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(busy[n.cluster], busy[best.cluster]),
			cmp.Compare(n.pause, best.pause), n.due.Compare(best.due)) < 0 {
			host, best = h, n
		}
	}
	if best == nil {
		return "", false
	}
	best.busy = true
	return host, true
}

func (r *resolver) resolve(running context.Context, host string) {
	ctx, cancel := context.WithTimeout(running, resolveTimeout)
	defer cancel()
	var v4, v6 found
	var other sync.WaitGroup
	other.Go(func() { v6 = r.lookup(ctx, "ip6", host).usable() })
	v4 = r.lookup(ctx, "ip4", host).usable()
	other.Wait()
	if running.Err() == nil { // else the lookup failed because we are to end
		r.store(host, v4, v6)
	}
}

// store keeps what a lookup found. Only the first of several failures is
// logged.
func (r *resolver) store(host string, v4, v6 found) {
	r.mu.Lock()
	n, found := r.names[host]
	if !found {
		r.mu.Unlock()
		return
	}
	was, wasKnown := n.all, n.known
	err := n.take(v4, v6, time.Now())
	n.busy = false
	news := err != nil && n.pause == 0
	n.schedule(v4, v6, err, len(r.names))
	if n.known != wasKnown || !slices.Equal(n.all, was) {
		r.generation.Add(1)
	}
	gone := len(was) > 0 && len(n.all) == 0
	r.mu.Unlock()
	switch {
	case gone:
		r.logger.Warn("gateway host name has no address any more", "host", host, "err", err, "denied_for", keepDenied.String())
	case news:
		r.logger.Warn("gateway host name not resolved", "host", host, "err", err)
	}
}
