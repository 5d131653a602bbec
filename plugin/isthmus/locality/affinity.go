package locality

import (
	"encoding/binary"
	"math"
	"net/netip"
)

// keyed is what PickFor needs of a candidate.
type keyed struct {
	key     uint64  // of its cluster's name
	inverse float64 // 1 / share
}

// PickFor returns the index of the candidate that a client keeps, -1 when none
// is in. A client is a number that is hard to tell from random, as ClientHash
// makes it. It doesn't allocate.
//
// It is weighted rendezvous hashing: the client draws a number from the
// exponential distribution for each cluster by a hash of both, divides it by
// the cluster's share, and takes the smallest. So over all clients each cluster
// has its share; a client leaves its cluster only for one whose share grew in
// relation to it; and when a cluster leaves, only its own clients do (Thaler
// and Ravishankar 1998; Schindelhauer and Schomaker 2005 for the weights). All
// agents of a cluster send a client to the same place, for all services with
// the same candidates.
//
// On a plan without affinity it chooses as Pick does.
func (p *Plan) PickFor(client uint64) int {
	if len(p.keyed) == 0 {
		return p.Pick(mix(client))
	}
	best, least := 0, math.Inf(1)
	for i := range p.keyed {
		k := &p.keyed[i]
		u := uniform(mix(client ^ k.key))
		// -ln(u) is 1 - u or more, which spares most logarithms.
		if (1-u)*k.inverse >= least {
			continue
		}
		if d := -math.Log(u) * k.inverse; d < least {
			best, least = i, d
		}
	}
	return p.chosen[best]
}

// uniform makes a number between 0 and 1, neither of them, from 64 bits.
func uniform(h uint64) float64 { return (float64(h>>12) + 0.5) / (1 << 52) }

// ClientHash makes a client's number from its address. The whole address
// counts, also of IPv6: Kubernetes gives each node a /64, so by prefixes all
// Pods of a node would be one client, and with a few nodes the load would
// follow them. What it costs is that a machine with temporary addresses (RFC
// 8981) may get another cluster with the next one, a day later.
func ClientHash(addr netip.Addr) uint64 {
	b := addr.As16() // one form for both of IPv4's, without a zone
	return mix(mix(binary.BigEndian.Uint64(b[:8])) ^ binary.BigEndian.Uint64(b[8:]))
}

// nameKey is a number for a cluster's name: FNV-1a, stirred since it differs in
// few bits for names that do.
func nameKey(name string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 0x100000001b3
	}
	return mix(h)
}

// mix stirs the bits of a number, each number to another: the finalizer of
// SplitMix64 (Steele, Lea and Flood 2014), with its first step so that 0 is
// not left alone.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
