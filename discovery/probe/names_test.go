package probe_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/probe"
)

// dns answers lookups; a host with no entry is never answered.
type dns struct {
	mu    sync.Mutex
	hosts map[string][]netip.Addr
	asked map[string]int
	busy  int
	most  int
}

func newDNS() *dns { return &dns{hosts: map[string][]netip.Addr{}, asked: map[string]int{}} }

func (d *dns) set(host string, addrs ...netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if addrs == nil {
		addrs = []netip.Addr{}
	}
	d.hosts[host] = addrs
}

func (d *dns) count(host string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[host]
}

func (d *dns) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	d.mu.Lock()
	d.asked[host]++
	d.busy++
	d.most = max(d.most, d.busy)
	addrs, known := d.hosts[host]
	d.mu.Unlock()
	if !known {
		<-ctx.Done()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy--
	if !known {
		return nil, ctx.Err()
	}
	if len(addrs) == 0 {
		return nil, errors.New("no such host")
	}
	return addrs, nil
}

func named(cluster, host string) probe.Target {
	return probe.Target{Cluster: cluster, Host: host, Port: 443}
}

func addressOf(t probe.Target, a netip.AddrPort) probe.Target {
	t.Addr = a.Addr()
	return t
}

// All addresses of a host name are checked, each for itself, as long as it has
// them; the gateway is up while one is.
func TestHostNames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, d := newNetwork(), newDNS()
		p := start(t, n, probe.Config{Resolve: d.resolve})
		lb := named("east", "lb.example")
		d.set(lb.Host, at(2).Addr(), at(1).Addr(), at(1).Addr(), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("0.0.0.0"))
		n.set(at(2), refuse)
		gateway := &discovery.Gateway{Hostname: lb.Host, Port: 443}
		p.SetTargets([]probe.Target{lb, target("east", at(9))})
		await(t, p, addressOf(lb, at(2)), probe.Down, 16*time.Second)
		require.Equal(t, probe.Up, p.Snapshot().State(addressOf(lb, at(1))).Status)
		require.Len(t, p.Snapshot().Cluster("east"), 3, "what is unfit is not tried")
		require.Equal(t, probe.Up, p.Snapshot().Gateway("east", gateway, 443).Status)
		require.Zero(t, p.Snapshot().Gateway("east", gateway, 444))
		since := p.Snapshot().State(addressOf(lb, at(2))).Since

		d.set(lb.Host, at(3).Addr(), at(2).Addr()) // one goes, one comes, one stays
		n.set(at(3), refuse)
		time.Sleep(50 * time.Second)
		require.Zero(t, p.Snapshot().State(addressOf(lb, at(1))))
		require.Equal(t, since, p.Snapshot().State(addressOf(lb, at(2))).Since)
		require.Equal(t, probe.Down, p.Snapshot().Gateway("east", gateway, 443).Status)

		d.set(lb.Host) // the name is gone: what was found last stays
		time.Sleep(10 * time.Minute)
		require.Len(t, p.Snapshot().Cluster("east"), 3)
		require.InDelta(t, 2+10, d.count(lb.Host), 6, "asked ever less often")

		p.SetTargets([]probe.Target{target("east", at(9))})
		before := d.count(lb.Host)
		time.Sleep(10 * time.Minute)
		require.Equal(t, before, d.count(lb.Host))
		require.Len(t, p.Snapshot().Cluster("east"), 1)
	})
}

// Names that nobody answers for hold up their own cluster only.
func TestHostileNames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, d := newNetwork(), newDNS()
		p := start(t, n, probe.Config{Resolve: d.resolve})
		var targets []probe.Target
		for i := range 1000 {
			targets = append(targets, named("evil", fmt.Sprintf("h%d.evil.example", i)))
		}
		lb := named("east", "lb.example")
		d.set(lb.Host, at(1).Addr())
		p.SetTargets(append(targets, lb))
		await(t, p, addressOf(lb, at(1)), probe.Up, time.Second)
		time.Sleep(10 * time.Minute)
		require.Equal(t, 21, d.count(lb.Host), "every 30 s")
		d.mu.Lock()
		defer d.mu.Unlock()
		require.LessOrEqual(t, len(d.asked), 32+1)
		require.LessOrEqual(t, d.most, 2)
	})
}

// However often its targets change, a cluster has one lookup running.
func TestOneLookup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, d := newNetwork(), newDNS()
		p := start(t, n, probe.Config{Resolve: d.resolve})
		for i := range 100 {
			p.SetTargets([]probe.Target{named("evil", "a.example"), named("evil", fmt.Sprintf("b%d.example", i))})
			time.Sleep(100 * time.Millisecond)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		require.Equal(t, 1, d.most)
	})
}

// A name with many addresses takes no more than its cluster's part.
func TestManyAddresses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, d := newNetwork(), newDNS()
		p := start(t, n, probe.Config{Resolve: d.resolve})
		var targets []probe.Target
		for i := range 10 {
			lb := named("evil", fmt.Sprintf("h%d.example", i))
			var addrs []netip.Addr
			for a := range 1000 {
				addrs = append(addrs, at(i*1000+a).Addr())
			}
			d.set(lb.Host, addrs...)
			targets = append(targets, lb)
		}
		p.SetTargets(targets)
		time.Sleep(time.Minute)
		require.Len(t, p.Snapshot().Cluster("evil"), 256)
	})
}

// Stopping ends a lookup that hangs, and the next Run begins it again.
func TestNamesAndRuns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, d := newNetwork(), newDNS()
		p, stop := startUntil(t, n, probe.Config{Resolve: d.resolve})
		lb := named("east", "lb.example")
		p.SetTargets([]probe.Target{lb})
		time.Sleep(time.Second)
		stop()
		require.Equal(t, 1, d.count(lb.Host))
		d.set(lb.Host, at(1).Addr())
		defer run(t, p)()
		await(t, p, addressOf(lb, at(1)), probe.Up, 6*time.Second)
		p.SetTargets(nil) // while the next lookup may be due
		time.Sleep(time.Minute)
		require.Equal(t, 2, d.count(lb.Host))
	})
}
