package discovery

import (
	"cmp"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
)

// Overlaps are the pairs of clusters that claim one network although it has no
// room for both.
type Overlaps struct {
	Pairs  int       // how many there are
	Listed []Overlap // as many of them as were asked for, in order
}

// Overlap is a pair of clusters that claim one network, with a range of
// addresses that both have. There may be more of them.
type Overlap struct {
	Network string
	A, B    Claim // A's cluster sorts first
}

// Claim is a range of addresses that a cluster uses in its network.
type Claim struct {
	Cluster string
	Use     Use
	Prefix  netip.Prefix
}

// Use is what a cluster uses a range of addresses for.
type Use uint8

// The uses.
const (
	ForPods Use = iota
	ForServices
)

// String is "Pods" or "Services".
func (u Use) String() string {
	if u == ForServices {
		return "Services"
	}
	return "Pods"
}

// String is as in "east (Pods 10.1.0.0/16)".
func (c Claim) String() string { return fmt.Sprintf("%s (%s %s)", c.Cluster, c.Use, c.Prefix) }

// FindOverlaps compares all clusters that claim one network. Clients there are
// sent to other clusters' Pods, never to their ClusterIPs. So it harms when two
// clusters' Pods share addresses, or one's Pods and the other's Services:
// whoever has the address nearer at hand gets the packet. Services may share
// theirs: each cluster keeps its own to itself.
//
// At most most pairs are listed, of a network with more those that meet at the
// lowest addresses. What it costs depends on how many prefixes there are and not
// on what they are, so that hostile clusters can't make it dear: 40 ms for 500
// clusters with 64 for Pods and 64 for Services each.
func FindOverlaps(clusters []*Cluster, most int) Overlaps {
	networks := map[string][]*Cluster{}
	for _, c := range clusters {
		if c.Network != "" {
			networks[c.Network] = append(networks[c.Network], c)
		}
	}
	all := Overlaps{}
	for _, sharing := range networks {
		slices.SortFunc(sharing, func(a, b *Cluster) int { return cmp.Compare(a.Name, b.Name) })
		s := newSweep(sharing, most)
		s.run()
		all.Pairs += s.pairs
		all.Listed = append(all.Listed, s.found...)
	}
	slices.SortFunc(all.Listed, Overlap.compare)
	all.Listed = all.Listed[:min(most, len(all.Listed))]
	return all
}

func (o Overlap) compare(p Overlap) int {
	return cmp.Or(cmp.Compare(o.Network, p.Network), cmp.Compare(o.A.Cluster, p.A.Cluster), cmp.Compare(o.B.Cluster, p.B.Cluster))
}

// claimed is a prefix, masked, of the cluster with that number.
type claimed struct {
	prefix  netip.Prefix
	cluster int
	use     Use
}

// compare has the wider of two prefixes with one first address first.
func (c claimed) compare(d claimed) int {
	if order := c.prefix.Addr().Compare(d.prefix.Addr()); order != 0 {
		return order
	}
	return cmp.Or(cmp.Compare(c.prefix.Bits(), d.prefix.Bits()), cmp.Compare(c.cluster, d.cluster), cmp.Compare(c.use, d.use))
}

// sweep goes over the clusters of one network from the lowest address to the
// highest. Two prefixes are either apart or one in the other, so those that are
// open at an address, because it lies in them, are a stack.
type sweep struct {
	clusters []*Cluster
	most     int
	claims   []claimed // in the order of addresses, the wider first
	stack    []int     // of claims
	// open are clusters with an open claim of each use, count how many it has,
	// and widest the first of them.
	open   [2]set
	count  [2][]int
	widest [2][]int
	known  []set // of each cluster, with whom it was found to overlap
	pairs  int
	found  []Overlap
}

func newSweep(clusters []*Cluster, most int) *sweep {
	n := len(clusters)
	s := &sweep{clusters: clusters, most: most, known: make([]set, n)}
	total := 0
	for _, c := range clusters {
		total += len(c.PodCIDRs) + len(c.ServiceCIDRs)
	}
	s.claims = make([]claimed, 0, total)
	for i, c := range clusters {
		s.known[i] = newSet(n)
		s.claim(i, ForPods, c.PodCIDRs)
		s.claim(i, ForServices, c.ServiceCIDRs)
	}
	for use := range s.open {
		s.open[use], s.count[use], s.widest[use] = newSet(n), make([]int, n), make([]int, n)
	}
	slices.SortFunc(s.claims, claimed.compare)
	return s
}

func (s *sweep) claim(cluster int, use Use, prefixes []netip.Prefix) {
	for _, p := range prefixes {
		s.claims = append(s.claims, claimed{p.Masked(), cluster, use})
	}
}

func (s *sweep) run() {
	for i, c := range s.claims {
		for n := len(s.stack); n > 0 && !s.claims[s.stack[n-1]].prefix.Overlaps(c.prefix); n = len(s.stack) {
			s.close(s.claims[s.stack[n-1]])
			s.stack = s.stack[:n-1]
		}
		s.meet(c, ForPods)
		if c.use == ForPods {
			s.meet(c, ForServices)
		}
		if s.count[c.use][c.cluster] == 0 {
			s.open[c.use].add(c.cluster)
			s.widest[c.use][c.cluster] = i
		}
		s.count[c.use][c.cluster]++
		s.stack = append(s.stack, i)
	}
}

func (s *sweep) close(c claimed) {
	s.count[c.use][c.cluster]--
	if s.count[c.use][c.cluster] == 0 {
		s.open[c.use].remove(c.cluster)
	}
}

// meet notes the clusters that have an open claim of that use and were not
// found to overlap with c's before.
func (s *sweep) meet(c claimed, use Use) {
	known := s.known[c.cluster]
	for word, open := range s.open[use] {
		for news := open &^ known[word]; news != 0; news &= news - 1 {
			other := word*wordBits + bits.TrailingZeros64(news)
			if other == c.cluster {
				continue
			}
			known.add(other)
			s.known[other].add(c.cluster)
			s.pairs++
			if len(s.found) < s.most {
				s.list(s.claims[s.widest[use][other]], c)
			}
		}
	}
}

func (s *sweep) list(a, b claimed) {
	if a.cluster > b.cluster { // clusters are numbered by name
		a, b = b, a
	}
	s.found = append(s.found, Overlap{Network: s.clusters[a.cluster].Network, A: s.told(a), B: s.told(b)})
}

func (s *sweep) told(c claimed) Claim {
	return Claim{Cluster: s.clusters[c.cluster].Name, Use: c.use, Prefix: c.prefix}
}

// set is a set of small numbers.
type set []uint64

const wordBits = 64

func newSet(n int) set { return make(set, (n+wordBits-1)/wordBits) }

func (s set) add(n int)    { s[n/wordBits] |= 1 << (n % wordBits) }
func (s set) remove(n int) { s[n/wordBits] &^= 1 << (n % wordBits) }
