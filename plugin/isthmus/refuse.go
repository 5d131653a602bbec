package isthmus

import (
	"net/netip"
	"slices"

	"github.com/isthmus-dns/isthmus/discovery"
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

// fitness tells whether an address that another cluster names may be answered.
type fitness func(netip.Addr) bool

// fit refuses addresses that lead a client to its own machine instead of to
// the other cluster. An honest cluster exports none; one that was taken over,
// or the owner of a gateway's host name, could by them send our clients'
// requests to what listens on loopback or to the cloud's metadata service.
func fit(a netip.Addr) bool {
	a = a.Unmap()
	return !a.IsLoopback() && !a.IsLinkLocalUnicast() && !slices.Contains(metadata, a)
}

func fitOrLoopback(a netip.Addr) bool { return a.Unmap().IsLoopback() || fit(a) }

// fitnessFor is how a viewer judges: clusters on loopback, as in the demo, know
// each other by their own gateways. What our own cluster says can't be forged
// by another.
func fitnessFor(view *View, records []*discovery.Cluster) fitness {
	if view.Cluster == "" {
		return fit
	}
	for _, set := range clusterRecord(records, view.Cluster).GatewaySets {
		for _, g := range set.Gateways {
			if slices.ContainsFunc(g.Addresses, netip.Addr.IsLoopback) {
				return fitOrLoopback
			}
		}
	}
	return fit
}

// keep returns the addresses that are fit; the given ones are not changed.
func (f fitness) keep(addrs []netip.Addr) []netip.Addr {
	unfit := func(a netip.Addr) bool { return !f(a) }
	if !slices.ContainsFunc(addrs, unfit) {
		return addrs
	}
	return slices.DeleteFunc(slices.Clone(addrs), unfit)
}
