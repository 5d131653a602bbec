package isthmus

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

const (
	// maxPTR limits the records of one address: a cloud's load balancer may be
	// shared by a few clusters, and any cluster can claim any address.
	maxPTR = 16
	// maxReverseHosts limits the endpoints with host names of the own cluster,
	// and those of all others on its network: more than Kubernetes supports
	// Pods in a cluster (150,000).
	maxReverseHosts = 1 << 18
	// maxReverseAddrs limits the gateways and addresses of them that are looked
	// at for one cluster: 100,000 services with eight nodes each. What a cluster
	// has beyond that gets no name.
	maxReverseAddrs = 1 << 20
)

// reverseIndex finds the names of addresses, and the addresses of a cluster's
// gateways. It is immutable.
//
// A ClusterIP costs 40 octets: 4 MB at 100,000 services with one each. The text
// of names is shared with the table's.
type reverseIndex struct {
	own      string // cluster
	services []addrName[discovery.Key]
	hosts    []addrName[endpointName]
	gateways []addrName[string]   // cluster
	clusters map[string]addresses // of gateways, by cluster
}

// addrName is an address with one name of it. Lists of them are sorted by address
// and may have one several times.
type addrName[T any] struct {
	addr netip.Addr
	name T
}

// endpointName is a headless endpoint's name; it is put together when asked.
type endpointName struct {
	host, cluster string
	key           discovery.Key
}

// names lists the names of an address in a zone; nil if it has none. What is
// known from the own cluster comes alone, since other clusters may claim
// whatever they like.
func (x *reverseIndex) names(addr netip.Addr, zone string) []string {
	var names []string
	add := func(parts ...string) {
		if name := strings.Join(parts, ".") + "." + zone; len(names) < maxPTR && len(name) <= maxName {
			names = append(names, name)
		}
	}
	for _, s := range at(x.services, addr) {
		add(string(s.name))
	}
	hosts := at(x.hosts, addr)
	for _, h := range hosts {
		if h.name.cluster == x.own {
			add(h.name.host, h.name.cluster, string(h.name.key))
		}
	}
	if len(names) > 0 {
		return names
	}
	for _, g := range at(x.gateways, addr) {
		add(g.name, labelGateway)
	}
	for _, h := range hosts {
		add(h.name.host, h.name.cluster, string(h.name.key))
	}
	return names
}

// has tells whether any address in a prefix has a name.
func (x *reverseIndex) has(p netip.Prefix) bool {
	return anyIn(x.services, p) || anyIn(x.hosts, p) || anyIn(x.gateways, p)
}

// all calls f for each address that has a name, in order, until f returns
// false.
func (x *reverseIndex) all(f func(netip.Addr) bool) {
	s, h, g := x.services, x.hosts, x.gateways
	for {
		var least netip.Addr
		for _, head := range []netip.Addr{first(s), first(h), first(g)} {
			if head.IsValid() && (!least.IsValid() || head.Less(least)) {
				least = head
			}
		}
		if !least.IsValid() || !f(least) {
			return
		}
		s, h, g = s[len(at(s, least)):], h[len(at(h, least)):], g[len(at(g, least)):]
	}
}

func first[T any](list []addrName[T]) netip.Addr {
	if len(list) == 0 {
		return netip.Addr{}
	}
	return list[0].addr
}

// at is the part of a list that belongs to an address.
func at[T any](list []addrName[T], addr netip.Addr) []addrName[T] {
	begin := from(list, addr)
	end := begin
	for end < len(list) && list[end].addr == addr {
		end++
	}
	return list[begin:end]
}

func from[T any](list []addrName[T], addr netip.Addr) int {
	i, _ := slices.BinarySearchFunc(list, addr, func(n addrName[T], a netip.Addr) int { return n.addr.Compare(a) })
	return i
}

func anyIn[T any](list []addrName[T], p netip.Prefix) bool {
	i := from(list, p.Masked().Addr())
	return i < len(list) && p.Contains(list[i].addr)
}

// reverseBuilder collects what becomes a reverseIndex.
type reverseBuilder struct {
	reverseIndex
	view     *View
	fit      fitness
	lookup   hostAddrs
	records  []*discovery.Cluster
	gates    map[string]*gatewayAddrs
	ownHosts int
	cut      bool // a limit was reached
}

// gatewayAddrs are those of one cluster.
type gatewayAddrs struct {
	list   []netip.Addr
	known  map[netip.Addr]struct{}
	counts [2]int // of IPv4 and IPv6
	looked int
}

// buildReverse makes the index of a table as a viewer sees it; cut tells that a
// limit left something out.
func buildReverse(table *discovery.Table, view *View, lookup hostAddrs) (x *reverseIndex, cut bool) {
	records := *table.Records()
	b := &reverseBuilder{
		reverseIndex: reverseIndex{own: view.Cluster, clusters: map[string]addresses{}},
		view:         view, fit: fitnessFor(view, records), lookup: lookup, records: records,
		gates: make(map[string]*gatewayAddrs, len(records)),
	}
	for _, c := range table.Clusters() {
		if c.Cluster.Name == b.own {
			b.services = make([]addrName[discovery.Key], 0, c.Services) // most have one address
		}
	}
	for _, c := range records {
		b.gates[c.Name] = &gatewayAddrs{known: map[netip.Addr]struct{}{}}
		for _, set := range c.GatewaySets {
			b.addGateways(c.Name, set.Gateways)
		}
	}
	table.Walk(func(e *discovery.Entry) bool {
		for i := range e.Candidates {
			b.addService(e.Key, &e.Candidates[i])
		}
		return true
	})
	return b.finish(), b.cut
}

func (b *reverseBuilder) addService(key discovery.Key, c *discovery.Candidate) {
	b.addGateways(c.Cluster, c.Service.Gateways)
	own := c.Cluster == b.own && b.own != ""
	if own {
		for _, addr := range c.Service.ClusterIPs {
			b.services = append(b.services, addrName[discovery.Key]{addr.Unmap(), key})
		}
	}
	if c.Service.Kind != discovery.KindHeadless ||
		!own && !clusterRecord(b.records, c.Cluster).SharesNetwork(b.view.Network) {
		return
	}
	for _, e := range c.Service.Endpoints {
		if !e.Ready || e.Hostname == "" || !own && !b.fit(e.Addr) {
			continue
		}
		if own && b.ownHosts == maxReverseHosts || !own && len(b.hosts)-b.ownHosts == maxReverseHosts {
			b.cut = true
			return
		}
		if own {
			b.ownHosts++
		}
		b.hosts = append(b.hosts, addrName[endpointName]{e.Addr.Unmap(), endpointName{e.Hostname, c.Cluster, key}})
	}
}

func (b *reverseBuilder) addGateways(cluster string, gateways []discovery.Gateway) {
	of := b.gates[cluster]
	if of == nil { // its record came after we took them
		return
	}
	for i := range gateways {
		if of.looked++; of.looked > maxReverseAddrs {
			b.cut = true
			return
		}
		g := &gateways[i]
		addrs := g.Addresses
		if len(addrs) == 0 && g.Hostname != "" {
			addrs, _ = b.lookup(cluster, g.Hostname)
		}
		for _, addr := range addrs {
			b.addGateway(of, addr.Unmap())
		}
	}
}

// addGateway takes up an address, as many of each family as one answer has:
// what has a name here is confirmed by the name's addresses.
func (b *reverseBuilder) addGateway(of *gatewayAddrs, addr netip.Addr) {
	of.looked++
	if _, known := of.known[addr]; known || !b.fit(addr) {
		return
	}
	count := &of.counts[0]
	if addr.Is6() {
		count = &of.counts[1]
	}
	if *count == maxAddresses {
		b.cut = true
		return
	}
	*count++
	of.known[addr] = struct{}{}
	of.list = append(of.list, addr)
}

func (b *reverseBuilder) finish() *reverseIndex {
	for cluster, of := range b.gates {
		if len(of.list) == 0 {
			continue
		}
		b.clusters[cluster] = collect(locality.ByGateway, locality.NoGateway, of.list)
		for _, addr := range of.list {
			b.gateways = append(b.gateways, addrName[string]{addr, cluster})
		}
	}
	slices.SortFunc(b.services, func(x, y addrName[discovery.Key]) int {
		return cmp.Or(x.addr.Compare(y.addr), cmp.Compare(x.name, y.name))
	})
	slices.SortFunc(b.hosts, func(x, y addrName[endpointName]) int {
		return cmp.Or(x.addr.Compare(y.addr), b.compareClusters(x.name.cluster, y.name.cluster),
			cmp.Compare(x.name.key, y.name.key), strings.Compare(x.name.host, y.name.host))
	})
	slices.SortFunc(b.gateways, func(x, y addrName[string]) int {
		return cmp.Or(x.addr.Compare(y.addr), b.compareClusters(x.name, y.name))
	})
	x := b.reverseIndex
	x.services, x.hosts, x.gateways = answerable(x.services), answerable(x.hosts), answerable(x.gateways)
	return &x
}

// answerable drops the names of an address that no answer has room for: one
// cluster can give all of its endpoints the same address.
func answerable[T any](list []addrName[T]) []addrName[T] {
	kept := list[:0]
	var last netip.Addr
	n := 0
	for _, named := range list {
		if n++; named.addr != last {
			last, n = named.addr, 1
		}
		if n <= maxPTR {
			kept = append(kept, named)
		}
	}
	return slices.Clip(kept)
}

// compareClusters puts the own cluster first, so that others with the same
// address don't crowd it out of an answer.
func (b *reverseBuilder) compareClusters(x, y string) int {
	switch {
	case x == y:
		return 0
	case x == b.own:
		return -1
	case y == b.own:
		return +1
	}
	return strings.Compare(x, y)
}
