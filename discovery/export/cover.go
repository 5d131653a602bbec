package export

import (
	"net/netip"
	"slices"
)

// Cover is at most so many prefixes that hold all addresses of the given ones.
// Where there are too many, those that are narrow are rounded up to wider ones,
// no more than it takes: then it holds addresses besides, next to the others.
// Both families have room for as many, and leave each other what they don't
// need. The result is in the form of [Networks]; most is 2 or more.
func Cover(all []netip.Prefix, most int) []netip.Prefix {
	all = Networks(all)
	if len(all) <= most {
		return all
	}
	n4 := slices.IndexFunc(all, func(p netip.Prefix) bool { return !p.Addr().Is4() })
	if n4 < 0 {
		n4 = len(all)
	}
	v4, v6 := all[:n4], all[n4:] // IPv4 sorts first
	room4 := max(most/2, most-len(v6))
	return slices.Concat(roundUp(v4, room4), roundUp(v6, most-min(len(v4), room4)))
}

// roundUp finds the longest prefix length that leaves at most so many.
func roundUp(all []netip.Prefix, most int) []netip.Prefix {
	longest := 0
	for _, p := range all {
		longest = max(longest, p.Bits())
	}
	for length := longest - 1; len(all) > most; length-- {
		wider := slices.Clone(all)
		for i, p := range all {
			if p.Bits() > length {
				wider[i] = netip.PrefixFrom(p.Addr(), length)
			}
		}
		all = Networks(wider)
	}
	return all
}
