package export

import "github.com/isthmus-dns/isthmus/discovery"

// A record of more than 16 KiB (DESIGN section 3) is refused as a whole, and
// with a cluster's own record go all of its gateway sets. So what objects bring
// is bounded here, before. The functions tell what things take as protobuf at
// most: a tag and a length of up to two octets each, and numbers of up to three.
const (
	maxRecordBytes = 16 << 10
	// maxGatewayBytes is for a service's own gateways: 64 with an address of
	// each family take 2,900.
	maxGatewayBytes = 4 << 10
	// maxSetBytes is for all gateway sets of a cluster together, when objects
	// bring some. Its other fields take less than 3,100, CIDRs included.
	maxSetBytes = 12 << 10
)

func textBytes(s string) int { return 3 + len(s) }

func gatewayBytes(g *discovery.Gateway) int {
	n := 3 + 4 + 2 + 4 + 2 // its own, port, kind, weight, check
	if g.Hostname != "" {
		n += textBytes(g.Hostname)
	}
	if g.Zone != "" {
		n += textBytes(g.Zone)
	}
	for _, a := range g.Addresses {
		n += 2 + a.BitLen()/8
	}
	return n
}

// serviceBytes is what a record of a service takes at most.
func serviceBytes(s *discovery.Service) int {
	n := textBytes(s.Namespace) + textBytes(s.Name) + textBytes(s.GatewaySet) + 24 // kind, weight, affinity, exported-at
	for _, p := range s.Ports {
		n += 2 + textBytes(p.Name) + 2 + 4 + 4
	}
	for _, c := range s.Counts {
		n += 2 + textBytes(c.Zone) + 5 + 5
	}
	for _, a := range s.ClusterIPs {
		n += 2 + a.BitLen()/8
	}
	for _, a := range s.Aliases {
		n += textBytes(a)
	}
	for i := range s.Gateways {
		n += gatewayBytes(&s.Gateways[i])
	}
	return n + endpointBytes(s.Endpoints)
}

func endpointBytes(endpoints []discovery.Endpoint) int {
	n := 0
	for i := range endpoints {
		n += encodedSize(&endpoints[i])
	}
	return n
}

// Roomy tells whether a cluster's record keeps the bound on records for sure.
func Roomy(c *discovery.Cluster) bool {
	n := textBytes(c.Name) + textBytes(c.UID) + textBytes(c.Network) +
		3 + textBytes(c.Locality.Region) + textBytes(c.Locality.Zone) + textBytes(c.Locality.Subzone)
	for _, p := range c.PodCIDRs {
		n += 2 + p.Addr().BitLen()/8 + 1
	}
	for _, p := range c.ServiceCIDRs {
		n += 2 + p.Addr().BitLen()/8 + 1
	}
	for i := range c.GatewaySets {
		n += 3 + textBytes(c.GatewaySets[i].Name)
		for j := range c.GatewaySets[i].Gateways {
			n += gatewayBytes(&c.GatewaySets[i].Gateways[j])
		}
	}
	return n <= maxRecordBytes
}

// within keeps the gateways that fit, and of one with many addresses the first
// of them. The result has arrays of its own where it is shorter.
func within(most int, gateways []discovery.Gateway) []discovery.Gateway {
	for i := range gateways {
		if most -= gatewayBytes(&gateways[i]); most >= 0 {
			continue
		}
		kept := append([]discovery.Gateway(nil), gateways[:i]...)
		part := gateways[i]
		for len(part.Addresses) > 0 && most < 0 {
			last := len(part.Addresses) - 1
			most += 2 + part.Addresses[last].BitLen()/8
			part.Addresses = part.Addresses[:last:last]
		}
		if len(part.Addresses) > 0 {
			kept = append(kept, part)
		}
		return kept
	}
	return gateways
}

// giveWay lets endpoints go for what is beyond the bound: of many one more or
// less plays no role, while aliases and ports can't be left out.
func giveWay(s *discovery.Service) {
	if over := serviceBytes(s) - maxRecordBytes; over > 0 && len(s.Endpoints) > 0 {
		s.Endpoints = subset(s.Endpoints, max(endpointBytes(s.Endpoints)-over, 0))
	}
}
