package discovery

import (
	"net/netip"
	"slices"
)

// Cluster is what a cluster says of itself.
type Cluster struct {
	Name         string // DNS label, unique in the clusterset
	UID          string // the kube-system namespace's UID, or generated once
	Network      string // clusters with the same non-empty network reach each other's Pods
	Locality     Locality
	PodCIDRs     []netip.Prefix
	ServiceCIDRs []netip.Prefix
	GatewaySets  []GatewaySet
}

// GatewaysFor are the gateways of a service of this cluster: its own, or those
// of the set it names. Nil when there are none.
func (c *Cluster) GatewaysFor(s *Service) []Gateway {
	if len(s.Gateways) > 0 {
		return s.Gateways
	}
	name := s.GatewaySet
	if name == "" {
		name = DefaultGatewaySet
	}
	i := slices.IndexFunc(c.GatewaySets, func(g GatewaySet) bool { return g.Name == name })
	if i < 0 {
		return nil
	}
	return c.GatewaySets[i].Gateways
}

// SharesNetwork tells whether Pods of a cluster on the given network can be
// reached directly. Clusters that name no network share theirs with nobody.
func (c *Cluster) SharesNetwork(network string) bool {
	return c.Network != "" && c.Network == network
}
