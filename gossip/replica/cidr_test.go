package replica

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// TestNetworksOfACluster: prefixes come over as they are, and what is none, or
// too many of them, is not taken from anybody.
func TestNetworksOfACluster(t *testing.T) {
	full := &discovery.Cluster{Name: "east", UID: "e", Network: "vpc"}
	for i := range discovery.MaxCIDRs {
		full.PodCIDRs = append(full.PodCIDRs, netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 15: byte(i)}), 128))
		full.ServiceCIDRs = append(full.ServiceCIDRs, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i)}), i%33))
	}
	b, err := encodeCluster(full)
	require.NoError(t, err)
	require.Less(t, len(b), 2500, "a small part of a record's 16 KiB")
	got, err := decodeCluster("east", b)
	require.NoError(t, err)
	require.Equal(t, full, got)

	var many [][]byte
	for range discovery.MaxCIDRs + 1 {
		many = append(many, []byte{10, 0, 0, 0, 8})
	}
	for name, cidrs := range map[string][][]byte{
		"empty":                    {{}},
		"no address":               {{24}},
		"no length":                {{10, 0, 0, 0}},
		"longer than IPv4":         {{10, 0, 0, 0, 33}},
		"longer than IPv6":         {append(make([]byte, 16), 129)},
		"another number of octets": {{10, 0, 0, 0, 0, 0, 24}},
		"too many":                 many,
	} {
		t.Run(name, func(t *testing.T) {
			for _, w := range []*wire.Cluster{{Name: "east", PodCidrs: cidrs}, {Name: "east", ServiceCidrs: cidrs}} {
				b, err := deterministic.Marshal(w)
				require.NoError(t, err)
				_, err = decodeCluster("east", b)
				require.Error(t, err)
			}
		})
	}
}
