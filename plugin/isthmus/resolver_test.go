package isthmus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

// fakeDNS answers the resolver's lookups. A name that it doesn't have fails.
type fakeDNS struct {
	mu    sync.Mutex
	hosts map[string][]netip.Addr
	ttl   time.Duration
	fails map[string]error // by network, "ip4" or "ip6"
	asked map[string]int   // names, not families
}

func newFakeDNS() *fakeDNS {
	return &fakeDNS{hosts: map[string][]netip.Addr{}, fails: map[string]error{}, asked: map[string]int{}, ttl: fakeTTL}
}

// fakeTTL is that of the large clouds' load balancers.
const fakeTTL = time.Minute

// longestWait is the longestWait time from one lookup to the next, the tick included.
func longestWait(ttl time.Duration) time.Duration { return ttl + ttl/10 + 2*resolveTick }

func (d *fakeDNS) set(host string, a ...netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hosts[host] = a
}

func (d *fakeDNS) count(host string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[host]
}

// fail sets the error of a family, nil for none.
func (d *fakeDNS) fail(network string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails[network] = err
}

func (d *fakeDNS) lookup(_ context.Context, network, host string) found {
	d.mu.Lock()
	defer d.mu.Unlock()
	if network == "ip4" {
		d.asked[host]++
	}
	all, ok := d.hosts[host]
	if err := d.fails[network]; err != nil {
		return found{err: err}
	}
	if !ok {
		return found{err: errors.New("server misbehaving")}
	}
	f := found{ttl: d.ttl}
	for _, a := range all {
		if a.Unmap().Is4() == (network == "ip4") {
			f.addrs = append(f.addrs, a)
		}
	}
	return f
}

func named(host string) discovery.Gateway {
	return discovery.Gateway{Hostname: host, Kind: discovery.GatewayLoadBalancer}
}

// runResolver starts a resolver inside a synctest bubble.
func runResolver(t *testing.T, table *discovery.Table) (*resolver, *fakeDNS) {
	d := newFakeDNS()
	r := newResolver(table, d.lookup, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return r, d
}

func TestResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := discovery.NewTable()
		r, d := runResolver(t, table)
		d.set("lb.example", addrs("192.0.2.2", "192.0.2.1", "192.0.2.1", "0.0.0.0", "::ffff:192.0.2.3")...)
		time.Sleep(10 * time.Second)

		apply(t, table, cluster("east", eastLocality, named("lb.example")), 1)
		time.Sleep(2 * resolveTick)
		got, ok := r.Addrs("east", "lb.example")
		require.True(t, ok, "resolved before anyone asked")
		require.Equal(t, addrs("192.0.2.1", "192.0.2.2", "192.0.2.3"), got)
		generation := r.Generation()

		d.set("lb.example", addrs("192.0.2.1", "192.0.2.3", "192.0.2.2")...)
		time.Sleep(longestWait(fakeTTL))
		require.Greater(t, d.count("lb.example"), 1)
		require.Equal(t, generation, r.Generation(), "another order is no change")

		d.set("lb.example", addrs("192.0.2.9")...)
		time.Sleep(longestWait(fakeTTL))
		got, _ = r.Addrs("east", "lb.example")
		require.Equal(t, addrs("192.0.2.9"), got)
		require.Greater(t, r.Generation(), generation)

		d.set("lb.example") // no address any more: keep the last good ones
		time.Sleep(2 * fakeTTL)
		got, ok = r.Addrs("east", "lb.example")
		require.True(t, ok)
		require.Equal(t, addrs("192.0.2.9"), got)

		apply(t, table, cluster("east", eastLocality), 2)
		time.Sleep(walkServices + 2*resolveTick)
		before := d.count("lb.example")
		time.Sleep(4 * fakeTTL)
		require.Equal(t, before, d.count("lb.example"), "the table has it no longer")
	})
}

func TestResolverAskedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := discovery.NewTable()
		s := service("ns", "svc", 1, 1)
		s.Gateways = []discovery.Gateway{named("svc.example")}
		apply(t, table, cluster("east", eastLocality), 1, s)
		r, d := runResolver(t, table)
		synctest.Wait()
		require.Equal(t, 1, d.count("svc.example"), "a service's own gateway")
		_, ok := r.Addrs("east", "svc.example")
		require.False(t, ok, "it has failed so far")
		d.set("svc.example", addrs("192.0.2.1")...)
		time.Sleep(retryNames + 2*resolveTick)
		_, ok = r.Addrs("east", "svc.example")
		require.True(t, ok)

		d.set("new.example", addrs("192.0.2.2")...)
		_, ok = r.Addrs("east", "new.example")
		require.False(t, ok)
		synctest.Wait()
		_, ok = r.Addrs("east", "new.example")
		require.True(t, ok, "asking wakes the resolver")
	})
}

func TestResolverBound(t *testing.T) {
	r := newResolver(discovery.NewTable(), nil, slog.New(slog.DiscardHandler))
	for i := range maxNames + 10 {
		_, ok := r.Addrs("east", fmt.Sprint("h", i))
		require.False(t, ok)
	}
	require.Len(t, r.names, maxNames)
	r.store("not-asked.example", found{addrs: addrs("192.0.2.1")}, found{err: errNoAddress})
	require.Len(t, r.names, maxNames)
}

// crowd is a cluster with so many services, each with a host name of its own.
func crowd(t *testing.T, table *discovery.Table, n int) {
	var services []*discovery.Service
	for i := range n {
		s := service("ns", fmt.Sprint("s", i), 1, 1)
		s.Gateways = []discovery.Gateway{named(fmt.Sprintf("h%d.crowd.example", i))}
		services = append(services, s)
	}
	apply(t, table, cluster("crowd", eastLocality), 1, services...)
}

// A cluster whose host names can't be resolved must not keep others from being
// so, neither by the time that lookups take nor by their number.
func TestResolverIsFair(t *testing.T) {
	for _, n := range []int{maxNames - 1, 2 * maxNames} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := discovery.NewTable()
				d := newFakeDNS()
				d.ttl = 0
				d.set("lb.example", addrs("192.0.2.1")...)
				r := newResolver(table, func(ctx context.Context, network, host string) found {
					if host != "lb.example" {
						<-ctx.Done() // a name server that never answers
						return found{err: ctx.Err()}
					}
					return d.lookup(ctx, network, host)
				}, slog.New(slog.DiscardHandler))
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- r.Run(ctx) }()
				crowd(t, table, n)
				time.Sleep(time.Minute)
				apply(t, table, cluster("east", eastLocality, named("lb.example")), 1)
				time.Sleep(walkServices + 2*resolveTimeout)
				_, ok := r.Addrs("east", "lb.example")
				require.True(t, ok)
				time.Sleep(10 * time.Minute)
				require.GreaterOrEqual(t, d.count("lb.example"), 15, "refreshed in time")
				require.LessOrEqual(t, len(r.names), maxNames)
				cancel()
				require.NoError(t, <-done)
			})
		})
	}
}

// What gives way to another cluster's name must not be answered for ever.
func TestResolverEviction(t *testing.T) {
	r := newResolver(discovery.NewTable(), nil, slog.New(slog.DiscardHandler))
	for i := range maxNames {
		host := fmt.Sprint("h", i)
		r.Addrs("crowd", host)
		r.store(host, found{addrs: addrs("192.0.2.1")}, found{err: errNoAddress})
	}
	generation := r.Generation()
	r.Addrs("east", "lb.example")
	require.True(t, r.names["lb.example"] != nil, "east gets room")
	require.Len(t, r.names, maxNames)
	require.Greater(t, r.Generation(), generation)
	r.Addrs("crowd", "one-more")
	require.True(t, r.names["one-more"] == nil, "crowd gets none")
	require.True(t, r.names["lb.example"] != nil)
}

// Names that don't resolve are asked for ever less often, every agent does so.
func TestResolverBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := discovery.NewTable()
		apply(t, table, cluster("east", eastLocality, named("gone.example")), 1)
		_, d := runResolver(t, table)
		time.Sleep(time.Hour)
		require.InDelta(t, 60, d.count("gone.example"), 10)
	})
}
