package discovery

import (
	"net/netip"
	"slices"
)

// metadata are addresses at which clouds hand out credentials to any process
// on the machine that asks, as far as they are not link-local like the usual
// 169.254.169.254.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
	netip.MustParseAddr("fd20:ce::254"),    // Google Cloud
	netip.MustParseAddr("168.63.129.16"),   // Azure's wire server
	netip.MustParseAddr("100.100.100.200"), // Alibaba Cloud
}

// Fit tells whether an address that another cluster names may be answered, or
// connected to. It refuses those that lead to the asker's own machine instead
// of to the other cluster. An honest cluster exports none; one that was taken
// over, or the owner of a gateway's host name, could by them send requests to
// what listens on loopback or to the cloud's metadata service.
func Fit(a netip.Addr) bool {
	a = a.Unmap()
	return !a.IsLoopback() && !a.IsLinkLocalUnicast() && !slices.Contains(metadata, a)
}

// FitFrom is how a cluster judges addresses of others. Clusters that stand on
// loopback, as in the demo, know each other by their own gateways; what our
// own cluster says can't be forged by another. own is nil for a viewer that is
// in no cluster.
func FitFrom(own *Cluster) func(netip.Addr) bool {
	if own != nil && own.onLoopback() {
		return func(a netip.Addr) bool { return a.Unmap().IsLoopback() || Fit(a) }
	}
	return Fit
}

func (c *Cluster) onLoopback() bool {
	for _, set := range c.GatewaySets {
		for _, g := range set.Gateways {
			if slices.ContainsFunc(g.Addresses, netip.Addr.IsLoopback) {
				return true
			}
		}
	}
	return false
}
