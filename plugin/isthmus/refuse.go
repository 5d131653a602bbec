package isthmus

import (
	"net/netip"
	"slices"

	"github.com/isthmus-dns/isthmus/discovery"
)

// fitness tells whether an address that another cluster names may be answered.
type fitness func(netip.Addr) bool

// fitnessFor is how a viewer judges.
func fitnessFor(view *View, records []*discovery.Cluster) fitness {
	if view.Cluster == "" {
		return discovery.Fit
	}
	return discovery.FitFrom(clusterRecord(records, view.Cluster))
}

// keep returns the addresses that are fit; the given ones are not changed.
func (f fitness) keep(addrs []netip.Addr) []netip.Addr {
	unfit := func(a netip.Addr) bool { return !f(a) }
	if !slices.ContainsFunc(addrs, unfit) {
		return addrs
	}
	return slices.DeleteFunc(slices.Clone(addrs), unfit)
}
