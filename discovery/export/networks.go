package export

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Networks are prefixes in their shortest form: masked, sorted, none inside
// another, and two halves as the whole. A cluster hands each node a slice of
// its Pod network, so that thousands of them come to a few. What is no prefix
// is left out.
func Networks(all []netip.Prefix) []netip.Prefix {
	var sorted []netip.Prefix
	for _, p := range all {
		if p.IsValid() {
			sorted = append(sorted, p.Masked())
		}
	}
	slices.SortFunc(sorted, netip.Prefix.Compare)
	var out []netip.Prefix
	for _, p := range sorted {
		if n := len(out); n > 0 && out[n-1].Overlaps(p) { // sorted: the one before is the wider
			continue
		}
		out = append(out, p)
		for n := len(out); n > 1; n = len(out) {
			whole, ok := join(out[n-2], out[n-1])
			if !ok {
				break
			}
			out = append(out[:n-2], whole)
		}
	}
	return out
}

// join makes one prefix of its two halves.
func join(low, high netip.Prefix) (netip.Prefix, bool) {
	if low.Bits() != high.Bits() || low.Bits() == 0 || low.Addr().Is4() != high.Addr().Is4() {
		return netip.Prefix{}, false
	}
	whole := netip.PrefixFrom(low.Addr(), low.Bits()-1).Masked()
	return whole, whole.Contains(high.Addr())
}

// PodNetworks are the parts of the Pod network that the nodes have. Clusters
// whose network plugin hands out addresses by itself tell none.
func PodNetworks(nodes []*corev1.Node) []netip.Prefix {
	var all []netip.Prefix
	for _, node := range nodes {
		if node == nil {
			continue
		}
		all = append(all, ParsePrefixes(node.Spec.PodCIDRs)...)
	}
	return Networks(all)
}

// ParsePrefixes reads what is a CIDR and leaves out the rest.
func ParsePrefixes(texts []string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p)
		}
	}
	return out
}
