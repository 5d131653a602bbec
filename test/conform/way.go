package conform

import (
	"net/netip"
	"slices"

	"github.com/isthmus-dns/isthmus/discovery"
)

// way is how a client in the viewer's cluster gets to a service in one cluster,
// worked out from DESIGN's sections 6 and 7 and the plugin's README alone.
type way struct {
	cluster string
	service *discovery.Service
	// tier is 0 for the own cluster to 3 for the rest, -1 when it can't be
	// answered.
	tier   int
	weight uint32
	door   *discovery.Gateway // whose port SRV tells; nil for none
	// sets are alternatives: an answer has the addresses of one of them.
	sets [][]netip.Addr
}

const out = -1

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
	return all
}

func (m *Model) way(c *discovery.Cluster, s *discovery.Service) way {
	w := way{cluster: c.Name, service: s, tier: m.tier(c), weight: s.Ready() * max(s.Weight, 1)}
	switch pods := ready(s, ""); {
	case c.Name == m.Viewer.Cluster && s.Kind == discovery.KindClusterIP && len(s.ClusterIPs) > 0:
		w.sets = [][]netip.Addr{s.ClusterIPs}
	case c.Name == m.Viewer.Cluster:
		w.sets = [][]netip.Addr{pods}
	case m.shares(c) && len(pods) > 0:
		w.sets = [][]netip.Addr{pods}
	default:
		w.door, w.sets = doors(c, s)
	}
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
	_, sets = doors(c, s)
	return sets
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

// doors are a service's gateways: the first that can be used, and the addresses
// of all together, or of each by itself if they differ in weight.
func doors(c *discovery.Cluster, s *discovery.Service) (first *discovery.Gateway, sets [][]netip.Addr) {
	var all []netip.Addr
	even := true
	for _, g := range gatewaysOf(c, s) {
		usable := slices.DeleteFunc(slices.Clone(g.Addresses), func(a netip.Addr) bool {
			return a.IsLoopback() || a.IsLinkLocalUnicast() // the model has no other that is refused
		})
		if len(usable) == 0 {
			continue
		}
		if first == nil {
			first = &g
		}
		even = even && max(g.Weight, 1) == max(first.Weight, 1)
		sets, all = append(sets, usable), append(all, usable...)
	}
	if even {
		sets = [][]netip.Addr{all}
	}
	return first, sets
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

// at is the number of a port where the client connects.
func (w *way) at(p discovery.Port) uint16 {
	switch {
	case w.door == nil:
		return p.Port
	case p.Gateway != 0:
		return p.Gateway
	case w.door.Port != 0:
		return w.door.Port
	}
	return p.Port
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
// family may get: those of the nearest tier that has any. A way of the own
// cluster without the family ends it (plugin's README, end of Description).
func chosen(ways []way, six bool) [][]netip.Addr {
	for tier := range 4 {
		var all [][]netip.Addr
		for _, w := range ways {
			if w.tier == tier {
				all = append(all, family(w.sets, six)...)
			}
		}
		if len(all) > 0 || tier == 0 && slices.ContainsFunc(ways, func(w way) bool { return w.tier == 0 }) {
			return all
		}
	}
	return nil
}
