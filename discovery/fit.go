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
	netip.MustParseAddr("192.0.0.192"),     // Oracle Cloud
}

// embedding are prefixes of 96 bits whose addresses stand for the IPv4 address
// in their last 32: whoever routes them leads to that one.
var embedding = []netip.Prefix{
	netip.MustParsePrefix("::/96"),           // IPv4-compatible (RFC 4291 section 2.5.5.1)
	netip.MustParsePrefix("64:ff9b::/96"),    // NAT64 (RFC 6052)
	netip.MustParsePrefix("::ffff:0:0:0/96"), // SIIT's IPv4-translated (RFC 2765)
}

// plain is the address that one leads to.
func plain(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if a.Is4() || a.IsLoopback() || !slices.ContainsFunc(embedding, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return a
	}
	b := a.As16()
	return netip.AddrFrom4([4]byte(b[12:]))
}

// Fit tells whether an address that another cluster names may be answered, or
// connected to. It refuses those that lead to the asker's own machine instead
// of to the other cluster. An honest cluster exports none; one that was taken
// over, or the owner of a gateway's host name, could by them send requests to
// what listens on loopback or to the cloud's metadata service.
func Fit(a netip.Addr) bool {
	a = plain(a)
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
