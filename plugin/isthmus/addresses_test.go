package isthmus

import (
	"net/netip"
	"testing"

	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

func scrub(req *dns.Msg, w dns.ResponseWriter) dns.ResponseWriter {
	return request.NewScrubWriter(req, w)
}

func TestReachService(t *testing.T) {
	headless := service("ns", "svc", 1, 2)
	headless.Kind = discovery.KindHeadless
	headless.Endpoints = []discovery.Endpoint{
		{Addr: netip.MustParseAddr("10.9.0.1"), Ready: true},
		{Addr: netip.MustParseAddr("10.9.0.2")},
	}
	plain := service("ns", "svc", 1, 1, "10.9.1.1", "fd00::1")
	shared := service("ns", "svc", 1, 1, "10.9.1.1")
	shared.Endpoints = headless.Endpoints
	named := service("ns", "svc", 1, 1)
	named.Gateways = []discovery.Gateway{{Hostname: "lb.example.net", Port: 443, Kind: discovery.GatewayLoadBalancer}}
	both := service("ns", "svc", 1, 1)
	both.Gateways = append([]discovery.Gateway{gateway(8443, "192.0.2.1", "192.0.2.1", "2001:db8::1")}, named.Gateways...)
	outside := service("ns", "svc", 1, 2)
	outside.Kind, outside.Endpoints = discovery.KindExternal, headless.Endpoints
	outside.Gateways = []discovery.Gateway{gateway(0, "10.9.0.1")}
	outsideByName := service("ns", "svc", 1, 1)
	outsideByName.Kind, outsideByName.Gateways = discovery.KindExternal, []discovery.Gateway{{Hostname: "db.example.net", Kind: discovery.GatewayStatic}}
	outsideGone := service("ns", "svc", 0, 0)
	outsideGone.Kind = discovery.KindExternal
	inSet := service("ns", "svc", 1, 1)
	inSet.GatewaySet = "other"

	west := cluster("west", westLocality, gateway(15443, "192.0.2.7"))
	east := cluster("east", eastLocality, gateway(15443, "192.0.2.8"))
	island := cluster("island", eastLocality)
	networked := cluster("net", eastLocality, gateway(15443, "192.0.2.9"))
	networked.Network = "flat"
	view := &View{Cluster: "west", Network: "flat"}

	unknown := func(_, _ string) ([]netip.Addr, bool) { return nil, false }
	known := func(_, _ string) ([]netip.Addr, bool) { return addrs("198.51.100.1"), true }
	tests := []struct {
		name   string
		c      *discovery.Cluster
		s      *discovery.Service
		lookup hostAddrs
		reach  locality.Reach
		v4, v6 []string
		port   uint16
	}{
		{"own ClusterIPs", west, plain, unknown, locality.ByService, []string{"10.9.1.1"}, []string{"fd00::1"}, 80},
		{"own headless", west, headless, unknown, locality.ByService, []string{"10.9.0.1"}, nil, 80},
		{"own without address", west, service("ns", "svc", 1, 1), unknown, locality.NoAddress, nil, nil, 80},
		{"own machines", west, outside, unknown, locality.ByService, []string{"10.9.0.1"}, nil, 80},
		{"own, by name", west, outsideByName, known, locality.ByGateway, []string{"198.51.100.1"}, nil, 80},
		{"own, by a name that is not known yet", west, outsideByName, unknown, locality.Unresolved, nil, nil, 80},
		{"own, without machines", west, outsideGone, unknown, locality.NoAddress, nil, nil, 80},
		{"another's machines", east, outside, unknown, locality.ByGateway, []string{"10.9.0.1"}, nil, 80},
		{"another's, by name", east, outsideByName, known, locality.ByGateway, []string{"198.51.100.1"}, nil, 80},
		{"another's machines on a shared network", networked, outside, unknown, locality.ByEndpoint, []string{"10.9.0.1"}, nil, 80},
		{"shared network", networked, shared, unknown, locality.ByEndpoint, []string{"10.9.0.1"}, nil, 80},
		{"shared network without endpoints", networked, plain, unknown, locality.ByGateway, []string{"192.0.2.9"}, nil, 15443},
		{"gateway set", east, plain, unknown, locality.ByGateway, []string{"192.0.2.8"}, nil, 15443},
		{"gateway set that isn't there", east, inSet, unknown, locality.NoGateway, nil, nil, 80},
		{"no gateway", island, plain, unknown, locality.NoGateway, nil, nil, 80},
		{"host name unknown yet", east, named, unknown, locality.Unresolved, nil, nil, 80},
		{"host name", east, named, known, locality.ByGateway, []string{"198.51.100.1"}, nil, 443},
		{"own gateways, one pending", east, both, unknown, locality.ByGateway, []string{"192.0.2.1"}, []string{"2001:db8::1"}, 8443},
		{"own gateways", east, both, known, locality.ByGateway, []string{"192.0.2.1", "198.51.100.1"}, []string{"2001:db8::1"}, 8443},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			require.NoError(t, tc.s.Validate())
			ways := finder{facts: &facts{standpoint: &standpoint{view: view}}, fit: discovery.Fit, lookup: tc.lookup}
			got := ways.service(tc.c, tc.s)
			require.Equal(t, tc.reach, got.reach)
			var v4, v6 []string
			for _, ip := range got.v4 {
				v4 = append(v4, ip.String())
			}
			for _, ip := range got.v6 {
				v6 = append(v6, ip.String())
			}
			require.Equal(t, tc.v4, v4)
			require.Equal(t, tc.v6, v6)
			require.Equal(t, tc.port, got.port(&tc.s.Ports[0]))
		})
	}
}

func TestReachHost(t *testing.T) {
	s := service("ns", "svc", 1, 2)
	s.Kind = discovery.KindHeadless
	s.Endpoints = []discovery.Endpoint{
		{Addr: netip.MustParseAddr("10.9.0.1"), Hostname: "a", Ready: true},
		{Addr: netip.MustParseAddr("10.9.0.2"), Hostname: "b"},
	}
	east := cluster("east", eastLocality)
	flat := cluster("flat", eastLocality)
	flat.Network = "net"
	view := &View{Cluster: "west", Network: "net"}
	service := collect(locality.ByGateway, locality.NoGateway, addrs("192.0.2.8"))
	none := func(_, _ string) ([]netip.Addr, bool) { return nil, false }
	ways := finder{facts: &facts{standpoint: &standpoint{view: view}}, fit: discovery.Fit, lookup: none}

	got, found := ways.host(east, s, "a", &service)
	require.True(t, found)
	require.Equal(t, locality.ByGateway, got.reach)
	require.Equal(t, "192.0.2.8", got.v4[0].String())
	got, _ = ways.host(flat, s, "a", &service)
	require.Equal(t, "10.9.0.1", got.v4[0].String())
	got, found = ways.host(flat, s, "b", &service)
	require.True(t, found)
	require.False(t, got.reach.OK())
	_, found = ways.host(flat, s, "c", &service)
	require.False(t, found)
}

// TestZonesOfWhatIsOutside: what has a host name only has no endpoints whose
// zones could be asked for, but those that are counted.
func TestZonesOfWhatIsOutside(t *testing.T) {
	s := service("ns", "svc", 1, 1)
	s.Kind, s.Counts = discovery.KindExternal, []discovery.ZoneCount{{Zone: "z", Ready: 1, Total: 1}}
	c := discovery.Candidate{Cluster: "west", Service: s}
	named := byEndpoints(&View{Cluster: "west"}, &addresses{reach: locality.ByGateway}, c)
	require.Contains(t, zonesOf(s, "home", named), "z")
	require.True(t, byEndpoints(&View{Cluster: "west"}, &addresses{reach: locality.ByService}, c))
}
