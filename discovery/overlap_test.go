package discovery_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/isthmus-dns/isthmus/discovery"
)

// claimant is a cluster of a network with the prefixes that it says are its own.
func claimant(name, network string, pods, services []string) *discovery.Cluster {
	c := &discovery.Cluster{Name: name, Network: network}
	for _, p := range pods {
		c.PodCIDRs = append(c.PodCIDRs, netip.MustParsePrefix(p))
	}
	for _, p := range services {
		c.ServiceCIDRs = append(c.ServiceCIDRs, netip.MustParsePrefix(p))
	}
	return c
}

func TestFindOverlaps(t *testing.T) {
	const none = ""
	for _, tt := range []struct {
		name string
		a, b *discovery.Cluster
		want string
	}{
		{
			"the same Pods", claimant("east", "vpc", []string{"10.1.0.0/16"}, nil), claimant("west", "vpc", []string{"10.1.0.0/16"}, nil),
			"vpc: east (Pods 10.1.0.0/16), west (Pods 10.1.0.0/16)",
		},
		{
			"the other way round", claimant("west", "vpc", []string{"10.1.0.0/16"}, nil), claimant("east", "vpc", []string{"10.1.3.0/24"}, nil),
			"vpc: east (Pods 10.1.3.0/24), west (Pods 10.1.0.0/16)",
		},
		{
			"one within the other's", claimant("east", "vpc", []string{"10.0.0.0/24", "10.1.3.0/24"}, nil), claimant("west", "vpc", []string{"10.1.0.0/16", "10.2.0.0/16"}, nil),
			"vpc: east (Pods 10.1.3.0/24), west (Pods 10.1.0.0/16)",
		},
		{
			"the widest that holds it", claimant("east", "vpc", []string{"10.0.0.0/8", "10.1.0.0/16"}, nil), claimant("west", "vpc", []string{"10.1.2.0/24"}, nil),
			"vpc: east (Pods 10.0.0.0/8), west (Pods 10.1.2.0/24)",
		},
		{
			"IPv6", claimant("east", "vpc", []string{"10.1.0.0/16", "fd00:1::/48"}, nil), claimant("west", "vpc", []string{"10.2.0.0/16", "fd00:1:0:5::/64"}, nil),
			"vpc: east (Pods fd00:1::/48), west (Pods fd00:1:0:5::/64)",
		},
		{
			"Pods where the other has Services", claimant("east", "vpc", []string{"10.96.4.0/24"}, nil), claimant("west", "vpc", []string{"10.1.0.0/16"}, []string{"10.96.0.0/12"}),
			"vpc: east (Pods 10.96.4.0/24), west (Services 10.96.0.0/12)",
		},
		{
			"Services where the other has Pods", claimant("east", "vpc", []string{"10.1.0.0/16"}, []string{"10.2.3.0/24"}), claimant("west", "vpc", []string{"10.2.0.0/16"}, nil),
			"vpc: east (Services 10.2.3.0/24), west (Pods 10.2.0.0/16)",
		},
		{
			"both, once", claimant("east", "vpc", []string{"10.1.0.0/16"}, []string{"10.96.0.0/12"}), claimant("west", "vpc", []string{"10.1.0.0/16", "10.97.0.0/16"}, []string{"10.96.0.0/12"}),
			"vpc: east (Pods 10.1.0.0/16), west (Pods 10.1.0.0/16)",
		},
		{
			"not in order, not masked", claimant("east", "vpc", []string{"10.9.0.0/16", "10.1.2.3/16"}, nil), claimant("west", "vpc", []string{"10.1.9.9/32"}, nil),
			"vpc: east (Pods 10.1.0.0/16), west (Pods 10.1.9.9/32)",
		},
		{"everything", claimant("east", "vpc", []string{"0.0.0.0/0"}, nil), claimant("west", "vpc", []string{"10.1.0.0/16"}, nil), "vpc: east (Pods 0.0.0.0/0), west (Pods 10.1.0.0/16)"},
		{"not all of IPv6", claimant("east", "vpc", []string{"0.0.0.0/0"}, nil), claimant("west", "vpc", []string{"::/0"}, nil), none},
		{"Services alone", claimant("east", "vpc", []string{"10.1.0.0/16"}, []string{"10.96.0.0/12"}), claimant("west", "vpc", []string{"10.2.0.0/16"}, []string{"10.96.0.0/12"}), none},
		{"neighbours", claimant("east", "vpc", []string{"10.0.0.0/16"}, nil), claimant("west", "vpc", []string{"10.1.0.0/16"}, nil), none},
		{"a cluster's own", claimant("east", "vpc", []string{"10.0.0.0/8", "10.1.0.0/16"}, []string{"10.1.0.0/16"}), claimant("west", "vpc", nil, nil), none},
		{"other networks", claimant("east", "vpc", []string{"10.1.0.0/16"}, nil), claimant("west", "vpc-2", []string{"10.1.0.0/16"}, nil), none},
		{"no network", claimant("east", "", []string{"10.1.0.0/16"}, nil), claimant("west", "", []string{"10.1.0.0/16"}, nil), none},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, clusters := range [][]*discovery.Cluster{{tt.a, tt.b}, {tt.b, tt.a}} {
				got := discovery.FindOverlaps(clusters, 10)
				if tt.want == none {
					require.Zero(t, got.Pairs)
					require.Empty(t, got.Listed)
					continue
				}
				require.Equal(t, 1, got.Pairs)
				require.Len(t, got.Listed, 1)
				o := got.Listed[0]
				require.Equal(t, tt.want, fmt.Sprintf("%s: %s, %s", o.Network, o.A, o.B))
			}
		})
	}
}

// TestListIsBounded: all pairs are counted; they are listed in order, and the
// list does not depend on the order of the clusters.
func TestListIsBounded(t *testing.T) {
	var clusters []*discovery.Cluster
	for i := range 100 {
		clusters = append(clusters, claimant(fmt.Sprintf("c%02d", i), []string{"a", "b"}[i%2], []string{"10.244.0.0/16"}, nil))
	}
	got := discovery.FindOverlaps(clusters, 7)
	require.Equal(t, 2*50*49/2, got.Pairs)
	require.Len(t, got.Listed, 7)
	all := discovery.FindOverlaps(clusters, got.Pairs)
	require.Len(t, all.Listed, got.Pairs)
	require.True(t, slices.IsSortedFunc(all.Listed, func(a, b discovery.Overlap) int {
		return slices.Compare([]string{a.Network, a.A.Cluster, a.B.Cluster}, []string{b.Network, b.A.Cluster, b.B.Cluster})
	}))
	rand.Shuffle(len(clusters), func(i, j int) { clusters[i], clusters[j] = clusters[j], clusters[i] })
	require.Equal(t, got, discovery.FindOverlaps(clusters, 7))
	require.Zero(t, len(discovery.FindOverlaps(clusters, 0).Listed))
}

// drawPrefix draws few different prefixes, nested more often than not.
func drawPrefix(t *rapid.T) netip.Prefix {
	addr, from, to := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 3).Draw(t, "b")), byte(rapid.IntRange(0, 3).Draw(t, "c") << 6)}), 7, 20
	if rapid.Bool().Draw(t, "ipv6") {
		addr, from, to = netip.AddrFrom16([16]byte{0xfd, 2: byte(rapid.IntRange(0, 3).Draw(t, "b")), 7: byte(rapid.IntRange(0, 3).Draw(t, "c"))}), 7, 64
	}
	return netip.PrefixFrom(addr, rapid.IntRange(from, to).Draw(t, "bits"))
}

// TestOverlapLaws: the sweep finds the pairs that comparing each prefix with
// each other finds, names two prefixes of theirs that overlap, and the same
// whatever the order of what it is given.
func TestOverlapLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var clusters []*discovery.Cluster
		for i := range rapid.IntRange(0, 8).Draw(t, "clusters") {
			prefixes := rapid.SliceOfN(rapid.Custom(drawPrefix), 0, 4)
			clusters = append(clusters, &discovery.Cluster{
				Name: fmt.Sprint("c", i), Network: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "network"),
				PodCIDRs: prefixes.Draw(t, "pods"), ServiceCIDRs: prefixes.Draw(t, "services"),
			})
		}
		got := discovery.FindOverlaps(clusters, 1000)
		require.Equal(t, got.Pairs, len(got.Listed))
		found := map[[2]string]bool{}
		for _, o := range got.Listed {
			found[[2]string{o.A.Cluster, o.B.Cluster}] = true
			require.True(t, o.A.Prefix.Overlaps(o.B.Prefix))
			require.False(t, o.A.Use == discovery.ForServices && o.B.Use == discovery.ForServices)
			for _, claim := range []discovery.Claim{o.A, o.B} {
				i := slices.IndexFunc(clusters, func(c *discovery.Cluster) bool { return c.Name == claim.Cluster })
				require.Equal(t, o.Network, clusters[i].Network)
				list := clusters[i].PodCIDRs
				if claim.Use == discovery.ForServices {
					list = clusters[i].ServiceCIDRs
				}
				require.True(t, slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Masked() == claim.Prefix }))
			}
		}
		for i, a := range clusters {
			for _, b := range clusters[i+1:] {
				want := a.SharesNetwork(b.Network) &&
					(meet(a.PodCIDRs, b.PodCIDRs) || meet(a.PodCIDRs, b.ServiceCIDRs) || meet(a.ServiceCIDRs, b.PodCIDRs))
				require.Equal(t, want, found[[2]string{a.Name, b.Name}], "%s and %s", a.Name, b.Name)
			}
		}
		mixed := rapid.Permutation(clusters).Draw(t, "mixed")
		for i, c := range mixed {
			other := *c
			other.PodCIDRs, other.ServiceCIDRs = rapid.Permutation(c.PodCIDRs).Draw(t, "pods"), rapid.Permutation(c.ServiceCIDRs).Draw(t, "services")
			mixed[i] = &other
		}
		require.Equal(t, got, discovery.FindOverlaps(mixed, 1000))
	})
}

func meet(a, b []netip.Prefix) bool {
	return slices.ContainsFunc(a, func(p netip.Prefix) bool { return slices.ContainsFunc(b, p.Overlaps) })
}

// BenchmarkFindOverlaps compares 500 clusters of one network with 64 prefixes
// for Pods and as many for Services each.
func BenchmarkFindOverlaps(b *testing.B) {
	for name, prefix := range map[string]func(cluster, i int) netip.Prefix{
		"apart": func(cluster, i int) netip.Prefix {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(cluster >> 2), byte(cluster<<6 | i)}), 24)
		},
		// What a hostile clusterset could do worst: all in all of the others'.
		"nested": func(_, i int) netip.Prefix { return netip.PrefixFrom(netip.IPv6Unspecified(), i) },
	} {
		b.Run(name, func(b *testing.B) {
			var clusters []*discovery.Cluster
			for n := range 500 {
				c := &discovery.Cluster{Name: fmt.Sprint("c", n), Network: "vpc"}
				for i := range discovery.MaxCIDRs {
					c.PodCIDRs = append(c.PodCIDRs, prefix(n, i))
					c.ServiceCIDRs = append(c.ServiceCIDRs, prefix(n, i))
				}
				clusters = append(clusters, c)
			}
			b.ReportAllocs()
			for b.Loop() {
				discovery.FindOverlaps(clusters, 256)
			}
		})
	}
}
