package discovery_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

func TestParseLocality(t *testing.T) {
	for in, want := range map[string]discovery.Locality{
		"":                       {},
		"us-west1":               {Region: "us-west1"},
		"us-west1/us-west1-a":    {Region: "us-west1", Zone: "us-west1-a"},
		"us-west1/us-west1-a/r7": {Region: "us-west1", Zone: "us-west1-a", Subzone: "r7"},
	} {
		got, err := discovery.ParseLocality(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got)
		require.Equal(t, in, got.String())
	}
	for _, in := range []string{"a/b/c/d", "/b", "a//c", "a/", "a b", "-a", strings.Repeat("x", 64)} {
		_, err := discovery.ParseLocality(in)
		require.Error(t, err, in)
	}
	require.Error(t, discovery.Locality{Zone: "z"}.Validate())
	require.Error(t, discovery.Locality{Region: "r", Subzone: "s"}.Validate())
	for _, hostile := range []string{strings.Repeat("\xb9", 10_000), strings.Repeat("a/", 10_000)} {
		_, err := discovery.ParseLocality(hostile)
		require.Error(t, err)
		require.Less(t, len(err.Error()), 1000)
	}
}

func TestValidLabel(t *testing.T) {
	for _, good := range []string{"a", "0", "a-b", "a--b", strings.Repeat("x", 63)} {
		require.NoError(t, discovery.ValidLabel(good), good)
	}
	for _, bad := range []string{"", "A", "-a", "a-", "a.b", "a_b", "ü", "*", strings.Repeat("x", 64)} {
		require.Error(t, discovery.ValidLabel(bad), bad)
	}
}

func TestServiceBounds(t *testing.T) {
	valid := func() *discovery.Service {
		return &discovery.Service{
			Namespace: "production", Name: "user", Kind: discovery.KindClusterIP,
			Ports:      []discovery.Port{{Name: "http", Protocol: discovery.TCP, Port: 80, Gateway: 30080}},
			ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("fd00::1")},
			Counts:     []discovery.ZoneCount{{Zone: "a", Ready: 1, Total: 2}},
			Gateways:   []discovery.Gateway{{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Kind: discovery.GatewayStatic}},
			Aliases:    []string{"shop.example.global"},
			Endpoints:  []discovery.Endpoint{{Addr: netip.MustParseAddr("10.0.0.1"), Hostname: "db-0", Ready: true}},
		}
	}
	require.NoError(t, valid().Validate())
	for what, spoil := range map[string]func(*discovery.Service){
		"no namespace":      func(s *discovery.Service) { s.Namespace = "" },
		"dot in the name":   func(s *discovery.Service) { s.Name = "a.b" },
		"kind":              func(s *discovery.Service) { s.Kind = 0 },
		"ports":             func(s *discovery.Service) { s.Ports = make([]discovery.Port, discovery.MaxPorts+1) },
		"port 0":            func(s *discovery.Service) { s.Ports[0].Port = 0 },
		"port name":         func(s *discovery.Service) { s.Ports[0].Name = "_http" },
		"protocol":          func(s *discovery.Service) { s.Ports[0].Protocol = 9 },
		"ready above total": func(s *discovery.Service) { s.Counts[0].Ready = 3 },
		"weight":            func(s *discovery.Service) { s.Weight = discovery.MaxWeight + 1 },
		"alias":             func(s *discovery.Service) { s.Aliases[0] = "Shop.global." },
		"unspecified":       func(s *discovery.Service) { s.ClusterIPs[0] = netip.IPv4Unspecified() },
		"multicast":         func(s *discovery.Service) { s.Endpoints[0].Addr = netip.MustParseAddr("224.0.0.1") },
		"zero address":      func(s *discovery.Service) { s.Endpoints[0].Addr = netip.Addr{} },
		"mapped address":    func(s *discovery.Service) { s.ClusterIPs[0] = netip.MustParseAddr("::ffff:10.0.0.1") },
		"hostname":          func(s *discovery.Service) { s.Endpoints[0].Hostname = "a.b" },
		"empty gateway":     func(s *discovery.Service) { s.Gateways[0].Addresses = nil },
		"both gateway":      func(s *discovery.Service) { s.Gateways[0].Hostname = "lb.example" },
		"gateway set":       func(s *discovery.Service) { s.GatewaySet = "Edge" },
	} {
		t.Run(what, func(t *testing.T) {
			s := valid()
			spoil(s)
			require.Error(t, s.Validate())
		})
	}
}

func TestGatewaysFor(t *testing.T) {
	own := []discovery.Gateway{{Hostname: "own"}}
	c := &discovery.Cluster{GatewaySets: []discovery.GatewaySet{
		{Name: "default", Gateways: []discovery.Gateway{{Hostname: "default"}}},
		{Name: "edge", Gateways: []discovery.Gateway{{Hostname: "edge"}}},
	}}
	require.Equal(t, "default", c.GatewaysFor(&discovery.Service{})[0].Hostname)
	require.Equal(t, "edge", c.GatewaysFor(&discovery.Service{GatewaySet: "edge"})[0].Hostname)
	require.Equal(t, "own", c.GatewaysFor(&discovery.Service{GatewaySet: "edge", Gateways: own})[0].Hostname)
	require.Nil(t, c.GatewaysFor(&discovery.Service{GatewaySet: "gone"}))
	require.False(t, (&discovery.Cluster{}).SharesNetwork(""), "no network is shared with nobody")
}
