package conform

import (
	"fmt"
	"math/big"
	"net/netip"
	"slices"

	"github.com/isthmus-dns/isthmus/discovery"
)

// way is how a client in the viewer's cluster gets to a service in one cluster,
// worked out from DESIGN's sections 6 and 7 and the plugin's README alone.
type way struct {
	cluster string
	service *discovery.Service
	// level is 0 for the own cluster to 3 for the rest, tier the same, or -1
	// when it can't be answered.
	level, tier int
	weight      uint32
	// doors are the gateways that it leads through, by the port they name; share
	// is the part of the cluster's weight that each group has.
	doors []door
	share uint32 // weight as SRV tells it, see weigh
	// sets are alternatives: an answer has the addresses of one of them.
	sets [][]netip.Addr
}

const out = -1

// door is those gateways of a cluster that name one port, 0 for none.
type door struct {
	port   uint16
	weight uint32
	sets   [][]netip.Addr
}

// ways are those to a service, in the order of the model's clusters.
func (m *Model) ways(key discovery.Key) []way {
	var all []way
	for i := range m.Clusters {
		c := &m.Clusters[i]
		for _, s := range c.Services {
			if s.Key() == key {
				all = append(all, m.way(c.Record, s))
			}
		}
	}
	weigh(all)
	return all
}

// weigh multiplies the weights of a tier by the least number that lets each
// cluster's be divided among its gateways without a remainder.
func weigh(ways []way) {
	factors := map[int]uint32{}
	for _, w := range ways {
		factors[w.tier] = max(factors[w.tier], 1)
		total := uint32(0)
		for _, d := range w.doors {
			total += d.weight
		}
		for _, d := range w.doors {
			for w.tier != out && len(w.doors) > 1 && factors[w.tier]*w.weight*d.weight%total != 0 {
				factors[w.tier]++
			}
		}
	}
	for i := range ways {
		ways[i].share = ways[i].weight * factors[ways[i].tier]
	}
}

func (m *Model) way(c *discovery.Cluster, s *discovery.Service) way {
	w := way{cluster: c.Name, service: s, level: m.tier(c), weight: s.Ready() * max(s.Weight, 1)}
	switch pods := ready(s, ""); {
	case c.Name == m.Viewer.Cluster && s.Kind == discovery.KindClusterIP && len(s.ClusterIPs) > 0:
		w.sets = [][]netip.Addr{s.ClusterIPs}
	case c.Name == m.Viewer.Cluster:
		w.sets = [][]netip.Addr{pods}
	case m.shares(c) && len(pods) > 0:
		w.sets = [][]netip.Addr{pods}
	default:
		w.doors, w.sets = doors(c, s)
	}
	w.tier = w.level
	if w.weight == 0 || !slices.ContainsFunc(w.sets, func(s []netip.Addr) bool { return len(s) > 0 }) {
		w.tier = out
	}
	return w
}

// host is the way to one named endpoint; exists tells whether there is one.
func (m *Model) host(c *discovery.Cluster, s *discovery.Service, host string) (sets [][]netip.Addr) {
	pods := ready(s, host)
	switch {
	case len(pods) == 0:
		return nil
	case c.Name == m.Viewer.Cluster, m.shares(c):
		return [][]netip.Addr{pods}
	}
	return alternatives(gatewaysOf(c, s))
}

func (m *Model) shares(c *discovery.Cluster) bool {
	return c.Network != "" && c.Network == m.Viewer.Network
}

func (m *Model) tier(c *discovery.Cluster) int {
	here, there := m.Viewer.Locality, c.Locality
	switch {
	case c.Name == m.Viewer.Cluster:
		return 0
	case here.Region == there.Region && here.Zone == there.Zone:
		return 1
	case here.Region == there.Region:
		return 2
	}
	return 3
}

// ready are the addresses of ready endpoints; of one host, if it isn't "".
func ready(s *discovery.Service, host string) []netip.Addr {
	var all []netip.Addr
	for _, e := range s.Endpoints {
		if e.Ready && (host == "" || e.Hostname == host) {
			all = append(all, e.Addr)
		}
	}
	return all
}

// doors are a service's gateways by their ports, and the alternatives that
// they make together.
func doors(c *discovery.Cluster, s *discovery.Service) (groups []door, sets [][]netip.Addr) {
	gateways := gatewaysOf(c, s)
	for _, g := range gateways {
		if slices.ContainsFunc(groups, func(d door) bool { return d.port == g.Port }) {
			continue
		}
		here := slices.DeleteFunc(slices.Clone(gateways), func(o discovery.Gateway) bool { return o.Port != g.Port })
		d := door{port: g.Port, sets: alternatives(here)}
		for _, o := range here {
			d.weight += max(o.Weight, 1)
		}
		groups = append(groups, d)
	}
	return groups, alternatives(gateways)
}

// alternatives are the addresses of all gateways together, or of each by itself
// if they differ in weight.
func alternatives(gateways []discovery.Gateway) [][]netip.Addr {
	var all []netip.Addr
	var each [][]netip.Addr
	weights := map[uint32]bool{}
	for _, g := range gateways {
		usable := slices.DeleteFunc(slices.Clone(g.Addresses), func(a netip.Addr) bool {
			return a.IsLoopback() || a.IsLinkLocalUnicast() // the model has no other that is refused
		})
		if len(usable) > 0 {
			weights[max(g.Weight, 1)] = true
			each, all = append(each, usable), append(all, usable...)
		}
	}
	if len(weights) > 1 {
		return each
	}
	return [][]netip.Addr{all}
}

func gatewaysOf(c *discovery.Cluster, s *discovery.Service) []discovery.Gateway {
	if len(s.Gateways) > 0 {
		return s.Gateways
	}
	name := s.GatewaySet
	if name == "" {
		name = "default"
	}
	for _, set := range c.GatewaySets {
		if set.Name == name {
			return set.Gateways
		}
	}
	return nil
}

// portAt is the number of a port at a gateway that names one of its own, or 0.
func portAt(gateway uint16, p discovery.Port) uint16 {
	switch {
	case p.Gateway != 0:
		return p.Gateway
	case gateway != 0:
		return gateway
	}
	return p.Port
}

// place is where a client finds a port: below which label, in which part of the
// cluster's weight, and at which addresses.
type place struct {
	label  string // before the cluster's name
	port   uint16
	weight uint32
	addrs  []netip.Addr
}

// places are those of a port: one, or one for each port that the cluster's
// gateways listen on if the service's port is not the same at all of them.
func (w *way) places(p discovery.Port) []place {
	all := slices.Concat(w.sets...)
	if w.doors == nil {
		return []place{{port: p.Port, weight: w.share, addrs: all}}
	}
	var places []place
	total := uint32(0)
	for _, d := range w.doors {
		total += d.weight
	}
	for _, d := range w.doors {
		label := fmt.Sprintf("%d.gateway.", d.port)
		places = append(places, place{label, portAt(d.port, p), w.share * d.weight / total, slices.Concat(d.sets...)})
	}
	if !slices.ContainsFunc(places, func(o place) bool { return o.port != places[0].port }) {
		return []place{{port: places[0].port, weight: w.share, addrs: all}}
	}
	return places
}

// family are the alternatives of one family, without those that have none.
func family(sets [][]netip.Addr, six bool) [][]netip.Addr {
	var all [][]netip.Addr
	for _, set := range sets {
		set = slices.DeleteFunc(slices.Clone(set), func(a netip.Addr) bool { return a.Is6() != six })
		if len(set) > 0 {
			all = append(all, set)
		}
	}
	return all
}

// chosen are the alternatives that a query for the service's addresses of one
// family may get: those of all tiers that have a load. A way of the own cluster
// without the family ends it (plugin's README, end of Description).
func chosen(ways []way, six bool) [][]netip.Addr {
	var all [][]netip.Addr
	loaded := loads(ways, six)
	for _, w := range ways {
		sets := family(w.sets, six)
		if w.tier == 0 && len(sets) == 0 {
			return nil
		}
		if w.tier != out && loaded[w.tier] {
			all = append(all, sets...)
		}
	}
	return all
}

// loads tells which tiers get a part of the answers of one family, by Envoy's
// pseudo code ("Priority levels"), in fractions. Endpoints without an address
// of the family are none.
func loads(ways []way, six bool) (loaded [4]bool) {
	one := big.NewRat(1, 1)
	var health [4]*big.Rat
	sum := new(big.Rat)
	for tier := range health {
		var healthy, total int64
		for _, w := range ways {
			if w.level != tier || len(family(w.sets, six)) == 0 {
				continue
			}
			total += int64(w.service.Total())
			if w.tier != out {
				healthy += int64(w.service.Ready())
			}
		}
		health[tier] = new(big.Rat)
		if total > 0 {
			health[tier] = least(one, big.NewRat(14*healthy, 10*total))
		}
		sum.Add(sum, health[tier])
	}
	normal, left := least(one, sum), big.NewRat(1, 1)
	for tier := range health {
		if normal.Sign() == 0 {
			break
		}
		load := least(left, new(big.Rat).Quo(health[tier], normal))
		left = new(big.Rat).Sub(left, load)
		loaded[tier] = load.Sign() > 0
	}
	return loaded
}

func least(a, b *big.Rat) *big.Rat {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}
