package replica

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

func TestPublishable(t *testing.T) {
	c := &discovery.Cluster{Name: "west", GatewaySets: []discovery.GatewaySet{{Name: "default"}}}
	require.NoError(t, Publishable(c))
	gateway := discovery.Gateway{Kind: discovery.GatewayStatic, Addresses: make([]netip.Addr, discovery.MaxAddresses)}
	for i := range gateway.Addresses {
		gateway.Addresses[i] = netip.MustParseAddr("2001:db8::1")
	}
	for range discovery.MaxGateways {
		c.GatewaySets[0].Gateways = append(c.GatewaySets[0].Gateways, gateway)
	}
	require.NoError(t, c.Validate())
	require.EqualError(t, Publishable(c), "the cluster's record takes 74069 octets, at most 16384 are allowed")
	c.Name = ""
	require.ErrorContains(t, Publishable(c), "cluster name")
}
