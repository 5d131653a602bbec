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
	var best standing
	for _, g := range s.Gateways {
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
// for a while with the gateways that are published now.
func (p *Publisher) heldDownLocked(key string, published *discovery.Service, want record, now time.Time) []byte {
	had := noGateways
	if published != nil {
		had = standingOf(published)
	}
	if had == noGateways || had == bySpec || want.standing >= had {
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
