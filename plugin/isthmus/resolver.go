package isthmus

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
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
	// refreshNames is how old an address may get: Go's resolver tells no TTL,
	// and the large clouds' load balancers have one of 60 s.
	refreshNames = 30 * time.Second
	// retryNames is the pause after a lookup that found nothing. It doubles up
	// to maxRetryNames: every agent asks, and a name that a cloud has just made
	// is there within a minute or two.
	retryNames    = 5 * time.Second
	maxRetryNames = time.Minute
	// resolveTick is how soon the resolver notices a change of the table.
	resolveTick = time.Second
	// resolveTimeout gives up a lookup: Go's resolver asks two servers twice
	// in 10 s by default.
	resolveTimeout = 5 * time.Second
	// resolveWorkers bounds the lookups at one time.
	resolveWorkers = 8
	// walkServices bounds how often all services are searched for gateways of
	// their own, which takes about 10 ms at 100,000.
	walkServices = 5 * time.Second
)

// lookupFunc finds a host name's addresses.
type lookupFunc func(ctx context.Context, host string) ([]netip.Addr, error)

// resolver keeps the addresses of gateways that have host names: a cloud's
// load balancer gives no more. It resolves what the table names before anyone
// asks, refreshes it, and keeps the last good addresses for as long as the
// table has the name. Queries read from it and never wait for it.
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

// resolved is one name's state; guarded by resolver.mu.
type resolved struct {
	cluster string        // whose gateway has it; one of them if several do
	addrs   []netip.Addr  // sorted; replaced, never changed
	known   bool          // a lookup has succeeded
	pause   time.Duration // before the next lookup when the last one failed, else 0
	due     time.Time
	busy    bool
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
	return n.addrs, n.known
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

func (r *resolver) resolve(ctx context.Context, host string) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	addrs, err := r.lookup(ctx, host)
	addrs = usable(addrs)
	if err == nil && len(addrs) == 0 {
		err = errors.New("no usable address")
	}
	r.store(host, addrs, err)
}

// store keeps what a lookup found. Only the first of several failures is
// logged.
func (r *resolver) store(host string, addrs []netip.Addr, err error) {
	r.mu.Lock()
	n, found := r.names[host]
	if !found {
		r.mu.Unlock()
		return
	}
	n.busy = false
	news := err != nil && n.pause == 0
	if err != nil {
		n.pause = min(max(2*n.pause, retryNames), maxRetryNames)
		n.due = time.Now().Add(n.pause)
	} else {
		n.pause, n.due = 0, time.Now().Add(refreshNames)
		if !n.known || !slices.Equal(n.addrs, addrs) {
			n.addrs, n.known = addrs, true
			r.generation.Add(1)
		}
	}
	r.mu.Unlock()
	if news {
		r.logger.Warn("gateway host name not resolved", "host", host, "err", err)
	}
}

// usable sorts out what no client can connect to. Load balancers rotate the
// order of their addresses; sorted, equal sets are equal.
func usable(addrs []netip.Addr) []netip.Addr {
	var kept []netip.Addr
	for _, a := range addrs {
		a = a.Unmap().WithZone("")
		if a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() {
			kept = append(kept, a)
		}
	}
	slices.SortFunc(kept, netip.Addr.Compare)
	kept = slices.Compact(kept)
	return kept[:min(len(kept), discovery.MaxAddresses)]
}

// systemLookup asks the machine's own resolver. The trailing dot keeps search
// lists out of it.
func systemLookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host+".")
}
