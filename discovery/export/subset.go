package export

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/isthmus-dns/isthmus/discovery"
)

// maxEndpointBytes keeps a record with long host names and zones under the
// 16 KiB of DESIGN section 3 with room for its other fields. 250 IPv4
// endpoints with names like "orders-12" and "us-west1-a" take 9,500.
const maxEndpointBytes = 10 << 10

// carry picks the endpoints that a record carries, ordered by address. Beyond
// the bounds it is a subset: ready ones first, then in the order of a hash of
// the address, so that an endpoint that comes or goes moves at most one other.
// Host names are for headless services (each Pod has a name there).
func carry(endpoints []endpoint, kind discovery.Kind) []discovery.Endpoint {
	picked := make([]discovery.Endpoint, 0, len(endpoints))
	size := 0
	for _, e := range endpoints {
		if kind != discovery.KindHeadless {
			e.Hostname = ""
		}
		picked = append(picked, e.Endpoint)
		size += encodedSize(&e.Endpoint)
	}
	if len(picked) > discovery.MaxEndpoints || size > maxEndpointBytes {
		picked = subset(picked, maxEndpointBytes)
	}
	if len(picked) == 0 {
		return nil
	}
	return slices.Clip(picked)
}

// subset are as many as take at most so many octets, ordered by address.
func subset(all []discovery.Endpoint, most int) []discovery.Endpoint {
	slices.SortFunc(all, func(x, y discovery.Endpoint) int {
		if x.Ready != y.Ready {
			if x.Ready {
				return -1
			}
			return 1
		}
		if c := cmp.Compare(hash(x.Addr), hash(y.Addr)); c != 0 {
			return c
		}
		return x.Addr.Compare(y.Addr)
	})
	n, size := 0, 0
	for n < len(all) && n < discovery.MaxEndpoints {
		if size += encodedSize(&all[n]); size > most {
			break
		}
		n++
	}
	all = slices.Clone(all[:n]) // not a window on what may be 100 times as long
	slices.SortFunc(all, func(x, y discovery.Endpoint) int { return x.Addr.Compare(y.Addr) })
	return all
}

// encodedSize is about what an endpoint takes as protobuf: its own tag and
// length, those of three fields, and the ready flag.
func encodedSize(e *discovery.Endpoint) int {
	return 3 + 2 + e.Addr.BitLen()/8 + 2 + len(e.Hostname) + 2 + len(e.Zone) + 2
}

// hash is FNV-1a with the finalizer of SplitMix64, which spreads addresses
// that differ in their last octet only. It must be the same in all watchers
// and versions, or the subset of large services would change at an upgrade.
func hash(a netip.Addr) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range a.As16() {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
