package discovery_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

func TestFit(t *testing.T) {
	loopback := &discovery.Cluster{GatewaySets: []discovery.GatewaySet{
		{Name: "a", Gateways: []discovery.Gateway{{Hostname: "lb.example"}}},
		{Name: "b", Gateways: []discovery.Gateway{{Addresses: []netip.Addr{netip.MustParseAddr("127.1.0.10")}}}},
	}}
	tests := []struct {
		addr          string
		fit, loopback bool // for anybody; for a cluster that stands on loopback
	}{
		{"192.0.2.1", true, true},
		{"10.0.0.1", true, true},
		{"2001:db8::1", true, true},
		{"127.0.0.1", false, true},
		{"::1", false, true},
		{"::ffff:127.0.0.1", false, true},
		{"169.254.169.254", false, false},
		{"fe80::1", false, false},
		{"fd00:ec2::254", false, false},
		{"::ffff:100.100.100.200", false, false},
		{"192.0.0.192", false, false},
		{"64:ff9b::169.254.169.254", false, false}, // by way of NAT64
		{"64:ff9b::127.0.0.1", false, false},
		{"64:ff9b::192.0.2.1", true, true},
		{"::169.254.169.254", false, false},
		{"::ffff:0:169.254.169.254", false, false},
	}
	for _, tc := range tests {
		t.Run(tc.addr, func(t *testing.T) {
			a := netip.MustParseAddr(tc.addr)
			require.Equal(t, tc.fit, discovery.Fit(a))
			require.Equal(t, tc.fit, discovery.FitFrom(nil)(a))
			require.Equal(t, tc.fit, discovery.FitFrom(&discovery.Cluster{})(a))
			require.Equal(t, tc.loopback, discovery.FitFrom(loopback)(a))
		})
	}
}

func TestCheckPort(t *testing.T) {
	port := func(p discovery.Protocol, own, gateway uint16) discovery.Port {
		return discovery.Port{Protocol: p, Port: own, Gateway: gateway}
	}
	tests := []struct {
		name    string
		gateway uint16
		ports   []discovery.Port
		want    uint16
	}{
		{"the gateway's", 15443, []discovery.Port{port(discovery.TCP, 80, 0)}, 15443},
		{"a node port", 15443, []discovery.Port{port(discovery.TCP, 80, 30080)}, 30080},
		{"the service's", 0, []discovery.Port{port(discovery.TCP, 80, 0)}, 80},
		{"the first TCP port", 0, []discovery.Port{port(discovery.UDP, 53, 30053), port(discovery.TCP, 80, 30080), port(discovery.TCP, 81, 30081)}, 30080},
		{"no TCP port", 0, []discovery.Port{port(discovery.UDP, 53, 30053)}, 0},
		{"no port", 443, nil, 443},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			g := &discovery.Gateway{Port: tc.gateway}
			require.Equal(t, tc.want, g.CheckPort(&discovery.Service{Ports: tc.ports}))
			require.Equal(t, tc.gateway, g.CheckPort(nil))
		})
	}
}
