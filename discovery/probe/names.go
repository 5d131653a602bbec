package probe

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
)

const (
	// maxNames bounds the host names of one cluster that are looked up.
	maxNames = 32
	// refreshNames, retryNames and maxRetryNames are the DNS plugin's: the
	// large clouds' load balancers have a TTL of 60 s, and a name that a cloud
	// has just made is there within a minute or two.
	refreshNames  = 30 * time.Second
	retryNames    = 5 * time.Second
	maxRetryNames = time.Minute
	// lookupTimeout is how long one lookup may take.
	lookupTimeout = 5 * time.Second
)

// ResolveFunc finds all addresses of a host name. It must give up when ctx
// ends.
type ResolveFunc func(ctx context.Context, host string) ([]netip.Addr, error)

// resolveSystem asks the machine's own resolver. The trailing dot keeps search
// lists out of it.
func resolveSystem(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host+".")
}

// names are the host names of one cluster. One of them is looked up at a time,
// so that a cluster whose names nobody answers for holds up only itself.
type names struct {
	hosts map[string]*host
	job   job
	busy  bool
}

// host is one name. What was once found is kept while lookups fail.
type host struct {
	found []netip.Addr // sorted
	pause time.Duration
	due   time.Time
}

// keep makes the names those of the targets that have no address.
func (n *names) keep(wanted []Target, now time.Time) {
	hosts := map[string]*host{}
	for _, t := range wanted {
		if t.Addr.IsValid() || hosts[t.Host] != nil || len(hosts) == maxNames {
			continue
		}
		h := n.hosts[t.Host]
		if h == nil {
			h = &host{due: now}
		}
		hosts[t.Host] = h
	}
	n.hosts = hosts
}

// addrs are what a name was last found to have; kept is false for one that is
// beyond maxNames.
func (n *names) addrs(name string) (addrs []netip.Addr, kept bool) {
	h := n.hosts[name]
	if h == nil {
		return nil, false
	}
	return h.found, true
}

// next is the name whose lookup is due first; "" when there is none.
func (n *names) next() (name string, due time.Time) {
	for candidate, h := range n.hosts {
		if name == "" || h.due.Before(due) || h.due.Equal(due) && candidate < name {
			name, due = candidate, h.due
		}
	}
	return name, due
}

// failsFirst tells whether a lookup that failed is the first to do so.
func (n *names) failsFirst(name string) bool {
	h := n.hosts[name]
	return h != nil && h.pause == 0
}

// store keeps what a lookup found and tells whether it is news.
func (n *names) store(name string, found []netip.Addr, err error, now time.Time) bool {
	h := n.hosts[name]
	if h == nil {
		return false
	}
	if found = connectable(found); err != nil || len(found) == 0 {
		h.pause = min(max(2*h.pause, retryNames), maxRetryNames)
		h.due = now.Add(h.pause)
		return false
	}
	h.pause, h.due = 0, now.Add(refreshNames)
	if slices.Equal(h.found, found) {
		return false
	}
	h.found = found
	return true
}

// connectable sorts out what nobody can connect to. Load balancers rotate the
// order of their addresses; sorted, equal sets are equal.
func connectable(addrs []netip.Addr) []netip.Addr {
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
