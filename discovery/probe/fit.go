package probe

import (
	"net/netip"

	"github.com/isthmus-dns/isthmus/discovery"
)

// FitFrom is Policy.Fit for a cluster: what discovery.FitFrom refuses, and our
// own Pods and Services. A gateway that claims such an address could not be
// reached there anyway, as our network keeps it to itself; but a hostile
// cluster would have our watcher knock at doors inside. own is nil for none.
func FitFrom(own *discovery.Cluster) func(netip.Addr) bool {
	fit := discovery.FitFrom(own)
	if own == nil {
		return fit
	}
	return func(a netip.Addr) bool {
		a = a.Unmap()
		for _, list := range [][]netip.Prefix{own.PodCIDRs, own.ServiceCIDRs} {
			for _, inside := range list {
				if inside.Contains(a) {
					return false
				}
			}
		}
		return fit(a)
	}
}
