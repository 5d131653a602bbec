package replica

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// TestGatewayOfALaterVersion: a check and a kind that this version doesn't know
// must not cost a cluster its record, and so all of its gateways.
func TestGatewayOfALaterVersion(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	for _, check := range []uint32{5, 255, 256, 1 << 31} {
		b, err := deterministic.Marshal(&wire.Cluster{Name: "east", Uid: "e", GatewaySets: []*wire.GatewaySet{{
			Name: "default", Gateways: []*wire.Gateway{
				{Addresses: [][]byte{addr.AsSlice()}, Port: 443, Kind: 6, Check: check},
				{Addresses: [][]byte{addr.AsSlice()}, Port: 444, Kind: 1, Check: 2},
			},
		}}})
		require.NoError(t, err)
		c, err := decodeCluster("east", b)
		require.NoError(t, err, "check %d", check)
		require.Equal(t, discovery.CheckNone, c.GatewaySets[0].Gateways[0].Check, "what we can't check is unknown, not down")
		require.Equal(t, discovery.CheckTLS, c.GatewaySets[0].Gateways[1].Check)
	}
}
