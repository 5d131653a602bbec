package probe

import (
	"cmp"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
)

const (
	// portsPerAddress bounds the ports of one address of one cluster that are
	// checked. Each of a clusterset's clusters checks them, so it bounds what
	// a hostile record can send to somebody else's address: at 500 clusters
	// and 5 s, 800 connections a second.
	portsPerAddress = 8
	// ofCluster is how many targets Of finds for a cluster: as many as any
	// sensible limit. It bounds the memory that a hostile part costs.
	ofCluster = 1024
)

// noAddr stands for a host name's addresses.
var noAddr netip.Addr

// gatewayTarget is how a gateway's address is checked.
func gatewayTarget(cluster string, g *discovery.Gateway, addr netip.Addr, port uint16) Target {
	return Target{Cluster: cluster, Addr: addr, Host: g.Hostname, Port: port, Check: g.Check}
}

// Of lists the gateways of all clusters in a table but our own: those of their
// sets, and the ones that services have for themselves. Each address and port
// is there once, whoever uses it. The order says what is left out first when a
// limit is reached: a cluster's sets come before gateways of single services,
// and one port of every address before a second port of any. The same table
// gives the same order.
//
// It costs a walk over all services, some 50 ms for 100,000 of them: no more
// than once in a few seconds.
func Of(table *discovery.Table, own string) []Target {
	finders := map[string]*finder{}
	for _, c := range *table.Records() {
		if c.Name == own {
			continue
		}
		f := &finder{record: c, sets: sample{}, own: sample{}}
		finders[c.Name] = f
		for _, set := range c.GatewaySets {
			for i := range set.Gateways {
				f.add(f.sets, &set.Gateways[i], nil)
			}
		}
	}
	table.Walk(func(e *discovery.Entry) bool {
		for _, c := range e.Candidates {
			if f := finders[c.Cluster]; f != nil {
				f.service(c.Service)
			}
		}
		return true
	})
	var all []Target
	for _, c := range *table.Records() {
		if f := finders[c.Name]; f != nil {
			all = append(all, f.targets()...)
		}
	}
	return all
}

// finder collects the targets of one cluster in bounded memory. What it keeps
// does not depend on the order in which it sees them, which in a table is
// none: else each walk would find others.
type finder struct {
	record *discovery.Cluster
	sets   sample // of the cluster's sets, with a port of their own
	own    sample // that services bring in
}

func (f *finder) service(s *discovery.Service) {
	gateways := f.record.GatewaysFor(s)
	shared := len(s.Gateways) == 0
	for i := range gateways {
		g := &gateways[i]
		if shared && g.CheckPort(s) == g.Port {
			continue // is in sets; so it is with nearly all services
		}
		f.add(f.own, g, s)
	}
}

func (f *finder) add(to sample, g *discovery.Gateway, s *discovery.Service) {
	port := g.CheckPort(s)
	if port == 0 || g.Check == discovery.CheckNone {
		return
	}
	if g.Hostname != "" {
		to.add(gatewayTarget(f.record.Name, g, noAddr, port).identity())
		return
	}
	for _, a := range g.Addresses {
		to.add(gatewayTarget(f.record.Name, g, a, port).identity())
	}
}

// targets lists what was found, in order of precedence.
func (f *finder) targets() []Target {
	list := f.sets.targets()
	seen := make(map[Target]bool, len(list))
	for _, t := range list {
		seen[t] = true
	}
	for _, t := range f.own.targets() {
		if !seen[t] {
			list = append(list, t)
		}
	}
	return list[:min(len(list), ofCluster)]
}

// place is an address or a host name.
type place struct {
	addr netip.Addr
	host string
}

// sample keeps, of the places it is given, the ofCluster whose hashes are the
// smallest, and of each the portsPerAddress targets that come first. A place
// that had to go never comes back, as smaller ones only become more: so the
// order in which they came makes no difference.
type sample map[place]*spot

type spot struct {
	rank    uint64
	targets []Target // sorted
}

// rank is the same in all watchers, so that one that takes over keeps the same.
func (p place) rank() uint64 {
	h := fnv.New64a()
	if p.addr.IsValid() {
		b := p.addr.As16()
		h.Write(b[:])
	}
	h.Write([]byte(p.host))
	return h.Sum64()
}

func (s sample) add(t Target) {
	where := place{t.Addr, t.Host}
	at := s[where]
	if at == nil {
		at = &spot{rank: where.rank()}
		s[where] = at
		// Not at each one beyond: a pass over all makes room for as many again.
		if len(s) >= 2*ofCluster {
			s.trim()
		}
	}
	i, found := slices.BinarySearchFunc(at.targets, t, Target.compare)
	if found || i == portsPerAddress {
		return
	}
	at.targets = slices.Insert(at.targets, i, t)
	at.targets = at.targets[:min(len(at.targets), portsPerAddress)]
}

// trim keeps the places of smallest rank.
func (s sample) trim() {
	for _, p := range s.places()[min(ofCluster, len(s)):] {
		delete(s, p)
	}
}

func (s sample) places() []place {
	places := make([]place, 0, len(s))
	for p := range s {
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(s[a].rank, s[b].rank), a.addr.Compare(b.addr), strings.Compare(a.host, b.host))
	})
	return places
}

// targets lists one of every place, then a second one, and so on.
func (s sample) targets() []Target {
	s.trim()
	places := s.places()
	var list []Target
	for i := range portsPerAddress {
		for _, p := range places {
			if t := s[p].targets; i < len(t) {
				list = append(list, t[i])
			}
		}
	}
	return list
}
