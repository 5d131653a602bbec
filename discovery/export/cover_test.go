package export_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/isthmus-dns/isthmus/discovery/export"
)

func TestCover(t *testing.T) {
	var nodes, both []string
	for i := range 65 {
		nodes = append(nodes, fmt.Sprintf("10.1.%d.0/24", 2*i))
		both = append(both, fmt.Sprintf("10.1.%d.0/24", 2*i), fmt.Sprintf("fd00:0:0:%x::/64", 4*i))
	}
	for _, tt := range []struct {
		name string
		in   []string
		most int
		want []string
	}{
		{"none", nil, 64, nil},
		{"few", []string{"10.1.2.0/24", "10.1.0.0/24"}, 64, []string{"10.1.0.0/24", "10.1.2.0/24"}},
		{"few when joined", []string{"10.1.3.0/24", "10.1.2.0/24", "10.1.0.0/23"}, 1, []string{"10.1.0.0/22"}},
		{"every other /24 of a /17, and one more", nodes, 64, []string{"10.1.0.0/17", "10.1.128.0/23"}},
		{"no wider than it takes", []string{"10.0.0.0/16", "10.4.0.0/24", "10.4.3.0/24", "10.8.0.0/24"}, 3, []string{"10.0.0.0/16", "10.4.0.0/22", "10.8.0.0/23"}},
		{"each family its own", append(slices.Clone(nodes), "fd00::/64"), 3, []string{"10.1.0.0/17", "10.1.128.0/23", "fd00::/64"}},
		{"both families", both, 64, []string{"10.1.0.0/17", "10.1.128.0/23", "fd00::/56", "fd00:0:0:100::/62"}},
		{"what is left of the other's room", []string{"10.0.0.0/24", "fd00::/64", "fd00:1::/64", "fd00:2::/64"}, 4, []string{"10.0.0.0/24", "fd00::/64", "fd00:1::/64", "fd00:2::/64"}},
		{"everything", []string{"0.0.0.0/8", "128.0.0.0/8", "::/8", "8000::/8"}, 2, []string{"0.0.0.0/0", "::/0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, prefixes(tt.want...), export.Cover(prefixes(tt.in...), tt.most))
		})
	}
}

// TestCoverLaws: it holds everything, is short enough, changes nothing that is
// short enough already, and is the same whatever the order.
func TestCoverLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(2, 16).Draw(t, "most")
		in := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) netip.Prefix {
			if rapid.Bool().Draw(t, "ipv6") {
				addr := [16]byte{0xfd, 6: rapid.Byte().Draw(t, "b"), 7: rapid.Byte().Draw(t, "c")}
				return netip.PrefixFrom(netip.AddrFrom16(addr), rapid.IntRange(0, 128).Draw(t, "bits"))
			}
			addr := [4]byte{10, 1, rapid.Byte().Draw(t, "b"), rapid.Byte().Draw(t, "c")}
			return netip.PrefixFrom(netip.AddrFrom4(addr), rapid.IntRange(12, 32).Draw(t, "bits"))
		}), 0, 40).Draw(t, "prefixes")
		got := export.Cover(in, most)
		require.LessOrEqual(t, len(got), most)
		require.Equal(t, got, export.Networks(got))
		for _, p := range in {
			require.True(t, slices.ContainsFunc(got, func(w netip.Prefix) bool { return w.Bits() <= p.Bits() && w.Contains(p.Addr()) }), "%v in %v", p, got)
		}
		if exact := export.Networks(in); len(exact) <= most {
			require.Equal(t, exact, got)
		}
		require.Equal(t, got, export.Cover(rapid.Permutation(in).Draw(t, "mixed"), most))
	})
}
