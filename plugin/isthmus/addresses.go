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

const (
	// maxAddresses limits the addresses of one cluster in one answer. 250 A
	// records fill a message of 4,096 octets; a client uses the first few.
	maxAddresses = 250
	// searchedAddresses is the length up to which a list is searched faster than
	// a map is made.
	searchedAddresses = 16
)

// addresses are where a viewer reaches a service in one cluster. The octets
// are shared by all replies and never written to.
type addresses struct { // two lines of the processor's cache
	reach locality.Reach
	// partial tells that these are the endpoints of one topology zone, of a
	// cluster that may have others elsewhere.
	partial bool
	// stale and reason are the verdict's, as tier is.
	stale  bool
	reason locality.Reason
	// gatewayPort is the own port of the gateways, of the first one if they
	// differ; 0 when it names none.
	gatewayPort uint16
	// priority is the tier's number, MaxPriorities for a candidate that is out.
	priority uint16
	// tier is the verdict's for the candidate that the addresses belong to: a
	// query that reads them needs no other line of the cache for it.
	tier   locality.Tier
	v4, v6 []net.IP
	// shares4 and shares6 divide v4 and v6 among gateways of different weight;
	// nil where all weigh the same.
	shares4, shares6 []share
	// ports divide the gateways by the port that they listen on; nil where all
	// have the same.
	ports []gatewayPort
	checked
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

// finder finds the ways to clusters.
type finder struct {
	*facts
	fit    fitness // of other clusters' addresses only those that are fit count
	lookup hostAddrs
}

func newFinder(f *facts, records []*discovery.Cluster, lookup hostAddrs) finder {
	return finder{facts: f, fit: fitnessFor(f.view, records), lookup: lookup}
}

// service finds the way to a service of cluster c: its own addresses in the
// viewer's cluster, its endpoints on a shared network, else its gateways. What
// stands outside of its cluster and has host names only, is behind gateways for
// its own cluster, too.
func (f *finder) service(c *discovery.Cluster, s *discovery.Service) addresses {
	named := s.Kind == discovery.KindExternal && len(s.Endpoints) == 0 && len(s.Gateways) > 0
	if f.view.Cluster != "" && f.view.Cluster == c.Name && !named {
		addrs := s.ClusterIPs
		if s.Kind != discovery.KindClusterIP || len(addrs) == 0 {
			addrs = readyEndpoints(s)
		}
		return collect(locality.ByService, locality.NoAddress, addrs)
	}
	if !c.SharesNetwork(f.view.Network) {
		return f.throughGateways(c, s)
	}
	a := f.throughGateways(c, s)
	if direct := collect(locality.ByEndpoint, locality.NoAddress, f.fit.keep(readyEndpoints(s))); direct.reach.OK() {
		direct.checked = a.checked // endpoints are not measured; they are as far away as the gateways
		return direct
	}
	if a.reach == locality.NoGateway && s.Ready() == 0 {
		a.reach = locality.NoAddress // it needs no gateway once an endpoint is ready
	}
	return a
}

// host finds the way to one named endpoint of a headless service: its
// addresses, or, where it can't be reached itself, the way to its service. found
// is false when the service has no endpoint of that name.
func (f *finder) host(c *discovery.Cluster, s *discovery.Service, host string, service *addresses) (a addresses, found bool) {
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
	case f.view.Cluster != "" && f.view.Cluster == c.Name:
		return collect(locality.ByService, locality.NoAddress, ready), true
	case c.SharesNetwork(f.view.Network):
		return collect(locality.ByEndpoint, locality.NoAddress, f.fit.keep(ready)), true
	}
	return *service, true
}

// throughGateways finds the way through a service's gateways. Addresses that are
// down are left out as long as there are others.
func (f *finder) throughGateways(c *discovery.Cluster, s *discovery.Service) addresses {
	gateways := c.GatewaysFor(s)
	found := make([]foundGateway, len(gateways))
	room4, room6 := maxAddresses, maxAddresses
	for i := range gateways {
		found[i] = f.findGateway(c, s, &gateways[i])
		found[i].limit(&room4, &room6)
	}
	left := standing(found)
	a := gather(left)
	a.ports = dividePorts(found, left)
	a.checked = together(found)
	return a
}

// foundGateway is a gateway with its addresses, as far as they are known.
type foundGateway struct {
	*discovery.Gateway
	addrs                   []netip.Addr
	pending, refused, empty bool // why some are missing
	// down are those of addrs that don't answer; the others are up or unknown.
	down []netip.Addr
	checked
}

func (f *finder) findGateway(c *discovery.Cluster, s *discovery.Service, g *discovery.Gateway) foundGateway {
	found := foundGateway{Gateway: g, addrs: g.Addresses}
	if len(g.Addresses) == 0 && g.Hostname != "" {
		var ok bool
		found.addrs, ok = f.lookup(c.Name, g.Hostname)
		found.pending, found.empty = !ok, ok && len(found.addrs) == 0
	}
	known := len(found.addrs)
	found.addrs = f.fit.keep(found.addrs)
	found.refused = len(found.addrs) < known
	f.ask(&found, c.Name, g.CheckPort(s))
	return found
}

// limit drops the addresses that find no room. A cluster may name 4,096 of them,
// which each of its services would keep several times: all, by weight, by port.
func (f *foundGateway) limit(room4, room6 *int) {
	none := func(addr netip.Addr) bool {
		room := room6
		if addr.Unmap().Is4() {
			room = room4
		}
		*room--
		return *room < 0
	}
	if first := slices.IndexFunc(f.addrs, none); first >= 0 {
		rest := slices.DeleteFunc(slices.Clone(f.addrs[first+1:]), none)
		f.addrs = slices.Concat(f.addrs[:first], rest)
	}
}

// gather puts the addresses of gateways together.
func gather(found []foundGateway) addresses {
	var all []netip.Addr
	var some foundGateway
	for _, g := range found {
		all = append(all, g.addrs...)
		some.pending, some.refused, some.empty = some.pending || g.pending, some.refused || g.refused, some.empty || g.empty
	}
	without := locality.NoGateway
	switch {
	case some.pending:
		without = locality.Unresolved
	case some.refused:
		without = locality.Refused
	case some.empty:
		without = locality.NoHost
	}
	a := collect(locality.ByGateway, without, all)
	if len(found) > 0 {
		a.gatewayPort = found[0].Port
	}
	a.divide(found)
	return a
}

// divide makes the shares of gateways that don't all weigh the same.
func (a *addresses) divide(gateways []foundGateway) {
	uneven, weight := false, uint32(0)
	for _, g := range gateways {
		if len(g.addrs) == 0 {
			continue
		}
		uneven = uneven || weight != 0 && max(g.Weight, 1) != weight
		weight = max(g.Weight, 1)
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
	var known map[netip.Addr]struct{}
	if len(addrs) > searchedAddresses {
		known = make(map[netip.Addr]struct{}, min(len(addrs), maxAddresses))
	}
	for i, addr := range addrs {
		addr = addr.Unmap()
		family := &a.v6
		if addr.Is4() {
			family = &a.v4
		}
		if !addr.IsValid() || len(*family) == maxAddresses {
			continue
		}
		_, double := known[addr]
		if known == nil {
			double = slices.Contains(addrs[:i], addr)
		} else {
			known[addr] = struct{}{}
		}
		if double {
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
