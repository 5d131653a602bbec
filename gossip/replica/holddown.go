package replica

import (
	"slices"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
)

// holdDown is how long a service keeps the addresses of a gateway whose status
// has lost the last of them. Load-balancer controllers clear a status while
// they restart or move it, and write the same address again within seconds.
const holdDown = time.Minute

// standing is where a service's own gateways come from, in the order in which
// sources are preferred: when the better one goes, the next takes its place.
type standing uint8

const (
	noGateways standing = iota // the cluster's default set serves
	byNodes
	byStatus // load balancer, Ingress, Gateway
	bySpec   // an annotation: somebody's word, and no status
)

func standingOf(s *discovery.Service) standing {
	if s.GatewaySet != "" {
		return bySpec
	}
	return standingOfAll(s.Gateways)
}

func standingOfAll(gateways []discovery.Gateway) standing {
	var best standing
	for _, g := range gateways {
		switch g.Kind {
		case discovery.GatewayStatic:
			return bySpec
		case discovery.GatewayNodePort:
			best = max(best, byNodes)
		default:
			best = max(best, byStatus)
		}
	}
	return best
}

// heldDownLocked is the value to publish for a service: as it is wanted, or
// for a while with the gateways that are published now. What somebody has taken
// away, a load balancer by another type or an Ingress by deleting it, leads
// nowhere from then on, and is not held.
func (p *Publisher) heldDownLocked(key string, published *discovery.Service, want record, now time.Time) []byte {
	if key == clusterKey {
		return p.heldSetsLocked(want.value, now)
	}
	had := noGateways
	if published != nil {
		had = standingOf(published)
	}
	if had == noGateways || had == bySpec || want.standing >= had || want.meant {
		delete(p.down, key)
		return want.value
	}
	until, held := p.down[key]
	if held && !now.Before(until) {
		delete(p.down, key)
		return want.value
	}
	value, err := withGateways(key, want.value, published)
	if err != nil || len(value) > p.replica.config.Limits.RecordBytes {
		delete(p.down, key)
		return want.value
	}
	if !held {
		p.down[key] = now.Add(holdDown)
		p.log.Info("gateway lost its last address, held for a while", "service", key, "for", holdDown.String())
		p.reviewSoon()
	}
	return value
}

// withGateways encodes a record with the gateways, and the ports there, of
// another version of it.
func withGateways(key string, value []byte, from *discovery.Service) ([]byte, error) {
	k, _ := parseServiceKey(key)
	s, err := decodeService(k, value)
	if err != nil {
		return nil, err
	}
	s.Gateways = from.Gateways
	s.Ports = slices.Clone(s.Ports) // other records share them
	for i := range s.Ports {
		port := &s.Ports[i]
		port.Gateway = 0
		if j := slices.IndexFunc(from.Ports, func(o discovery.Port) bool {
			return o.Name == port.Name && o.Protocol == port.Protocol && o.Port == port.Port
		}); j >= 0 {
			port.Gateway = from.Ports[j].Gateway
		}
	}
	return encodeService(s)
}

// heldSetsLocked is the cluster's own record to publish: as it is wanted, or
// for a while with those gateway sets of the published one that have lost their
// last address. A set serves all Services that have no gateway of their own, so
// an empty one takes most of a cluster away. A set that is gone from the
// configuration is meant to be; one whose object is gone is not: the
// configuration still names that.
func (p *Publisher) heldSetsLocked(value []byte, now time.Time) []byte {
	held, lost := p.withSets(value, func(set string) bool {
		until, holding := p.downSets[set]
		return !holding || now.Before(until)
	})
	for set := range p.downSets {
		if !slices.Contains(lost, set) {
			delete(p.downSets, set)
		}
	}
	for _, set := range lost {
		if _, holding := p.downSets[set]; !holding {
			p.downSets[set] = now.Add(holdDown)
			p.log.Info("gateway set lost its last address, held for a while", "set", set, "for", holdDown.String())
			p.reviewSoon()
		}
	}
	return held
}

// withSets encodes the cluster's record with the published gateways of the sets
// that would lose theirs and may be held, and names those.
func (p *Publisher) withSets(value []byte, may func(set string) bool) (held []byte, lost []string) {
	published := p.publishedCluster()
	if published == nil {
		return value, nil
	}
	wanted, err := decodeCluster(p.replica.cluster, value)
	if err != nil {
		return value, nil
	}
	for i := range wanted.GatewaySets {
		set := &wanted.GatewaySets[i]
		at := slices.IndexFunc(published.GatewaySets, func(g discovery.GatewaySet) bool { return g.Name == set.Name })
		if at < 0 {
			continue
		}
		had := standingOfAll(published.GatewaySets[at].Gateways)
		if (had == byNodes || had == byStatus) && standingOfAll(set.Gateways) < had && may(set.Name) {
			set.Gateways = published.GatewaySets[at].Gateways
			lost = append(lost, set.Name)
		}
	}
	held, err = encodeCluster(wanted)
	if err != nil || len(held) > p.replica.config.Limits.RecordBytes {
		return value, nil
	}
	return held, lost
}

// publishedCluster is our own cluster's record as the table has it, nil if it
// has none.
func (p *Publisher) publishedCluster() *discovery.Cluster {
	for _, c := range p.replica.config.Table.Clusters() {
		if c.Cluster != nil && c.Cluster.Name == p.replica.cluster {
			return c.Cluster
		}
	}
	return nil
}
