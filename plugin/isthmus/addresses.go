package isthmus

import (
	"math/bits"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// maxAddresses limits the addresses of one cluster in one answer. 250 A
// records fill a message of 4,096 octets; a client uses the first few.
const maxAddresses = 250

// addresses are where a viewer reaches a service in one cluster. The octets
// are shared by all replies and never written to.
type addresses struct {
	reach locality.Reach
	// tier is the verdict's for the candidate that the addresses belong to: a
	// query that reads them needs no other line of the cache for it.
	tier   locality.Tier
	v4, v6 []net.IP
	// first is the gateway that the addresses belong to, nil when they don't
	// belong to a gateway. Its port is what SRV records carry.
	first *discovery.Gateway
	// shares4 and shares6 divide v4 and v6 among gateways of different weight;
	// nil where all weigh the same.
	shares4, shares6 []share
}

// share is one gateway's part of the answers.
type share struct {
	ips   []net.IP
	bound uint64 // running sum of weights
}

// hostAddrs finds the addresses of a cluster's gateway that has a host name; ok
// is false as long as it is not known whether there are any. None are those of a
// name that is denied for good. It must not wait.
type hostAddrs func(cluster, host string) (addrs []netip.Addr, ok bool)

// reachService finds the way to a service of cluster c: its own addresses in
// the viewer's cluster, its endpoints on a shared network, else its gateways.
// Of another cluster's addresses only those that are fit count.
func reachService(view *View, c *discovery.Cluster, s *discovery.Service, fit fitness, lookup hostAddrs) addresses {
	if view.Cluster != "" && view.Cluster == c.Name {
		addrs := s.ClusterIPs
		if s.Kind != discovery.KindClusterIP || len(addrs) == 0 {
			addrs = readyEndpoints(s)
		}
		return collect(locality.ByService, locality.NoAddress, addrs)
	}
	if c.SharesNetwork(view.Network) {
		if a := collect(locality.ByEndpoint, locality.NoAddress, fit.keep(readyEndpoints(s))); a.reach.OK() {
			return a
		}
	}
	return reachGateways(c, s, fit, lookup)
}

// reachHost finds the way to one named endpoint of a headless service; found
// is false when the service has no endpoint of that name.
func reachHost(view *View, c *discovery.Cluster, s *discovery.Service, host string, fit fitness, lookup hostAddrs) (a addresses, found bool) {
	if s.Kind != discovery.KindHeadless {
		return addresses{}, false
	}
	var ready []netip.Addr
	for _, e := range s.Endpoints {
		if e.Hostname != host {
			continue
		}
		found = true
		if e.Ready {
			ready = append(ready, e.Addr)
		}
	}
	switch {
	case !found || len(ready) == 0:
		return addresses{}, found
	case view.Cluster != "" && view.Cluster == c.Name:
		return collect(locality.ByService, locality.NoAddress, ready), true
	case c.SharesNetwork(view.Network):
		return collect(locality.ByEndpoint, locality.NoAddress, fit.keep(ready)), true
	}
	return reachGateways(c, s, fit, lookup), true
}

func reachGateways(c *discovery.Cluster, s *discovery.Service, fit fitness, lookup hostAddrs) addresses {
	gateways := c.GatewaysFor(s)
	var all []netip.Addr
	var usable []usableGateway
	pending, denied, refused := false, false, false
	for i := range gateways {
		g := &gateways[i]
		addrs := g.Addresses
		if len(addrs) == 0 && g.Hostname != "" {
			var ok bool
			addrs, ok = lookup(c.Name, g.Hostname)
			pending = pending || !ok
			denied = denied || ok && len(addrs) == 0
		}
		known := len(addrs)
		addrs = fit.keep(addrs)
		refused = refused || len(addrs) < known
		if len(addrs) > 0 {
			usable = append(usable, usableGateway{g, addrs})
			all = append(all, addrs...)
		}
	}
	without := locality.NoGateway
	switch {
	case pending:
		without = locality.Unresolved
	case refused:
		without = locality.Refused
	case denied:
		without = locality.NoHost
	}
	a := collect(locality.ByGateway, without, all)
	if len(usable) > 0 {
		a.first = usable[0].Gateway
	}
	a.divide(usable)
	return a
}

// usableGateway is a gateway whose addresses are known.
type usableGateway struct {
	*discovery.Gateway
	addrs []netip.Addr
}

// divide makes the shares of gateways that don't all weigh the same.
func (a *addresses) divide(gateways []usableGateway) {
	uneven := false
	for _, g := range gateways {
		uneven = uneven || max(g.Weight, 1) != max(gateways[0].Weight, 1)
	}
	if !uneven {
		return
	}
	for _, g := range gateways {
		of := collect(locality.ByGateway, locality.NoGateway, g.addrs)
		a.shares4 = addShare(a.shares4, of.v4, g.Weight)
		a.shares6 = addShare(a.shares6, of.v6, g.Weight)
	}
}

func addShare(shares []share, ips []net.IP, weight uint32) []share {
	if len(ips) == 0 {
		return shares
	}
	bound := uint64(max(weight, 1))
	if len(shares) > 0 {
		bound += shares[len(shares)-1].bound
	}
	return append(shares, share{ips: ips, bound: bound})
}

// draw returns the addresses of one of the gateways, by weight: clients and
// resolvers reorder what they get, so a weight counts only if the others are
// not in the answer. All addresses where weights make no difference.
func draw(all []net.IP, shares []share, random func() uint64) []net.IP {
	if len(shares) < 2 {
		return all
	}
	x, _ := bits.Mul64(random(), shares[len(shares)-1].bound) // as locality.Plan.Pick
	for _, s := range shares {
		if x < s.bound {
			return s.ips
		}
	}
	return all // not reached: x is below the last bound
}

// collect splits addresses by family, each one once and in the given order.
func collect(with, without locality.Reach, addrs []netip.Addr) addresses {
	a := addresses{reach: without}
	for i, addr := range addrs {
		addr = addr.Unmap()
		family := &a.v6
		if addr.Is4() {
			family = &a.v4
		}
		// The search is quadratic, so it comes last.
		if !addr.IsValid() || len(*family) == maxAddresses || slices.Contains(addrs[:i], addr) {
			continue
		}
		*family = append(*family, addr.AsSlice())
		a.reach = with
	}
	return a
}

func readyEndpoints(s *discovery.Service) []netip.Addr {
	var addrs []netip.Addr
	for _, e := range s.Endpoints {
		if e.Ready {
			addrs = append(addrs, e.Addr)
		}
	}
	return addrs
}

// port is where a client finds a service's port at these addresses.
func (a addresses) port(p discovery.Port) uint16 {
	switch {
	case a.first == nil:
		return p.Port
	case p.Gateway != 0:
		return p.Gateway
	case a.first.Port != 0:
		return a.first.Port
	}
	return p.Port
}

// clusterRecord finds a cluster by name in records that are sorted by it. A
// service may be seen a moment before its cluster: then only the name is
// known.
func clusterRecord(records []*discovery.Cluster, name string) *discovery.Cluster {
	i, found := slices.BinarySearchFunc(records, name, func(c *discovery.Cluster, name string) int {
		return strings.Compare(c.Name, name)
	})
	if !found {
		return &discovery.Cluster{Name: name}
	}
	return records[i]
}
