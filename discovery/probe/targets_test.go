package probe_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/probe"
)

func static(port uint16, addrs ...string) discovery.Gateway {
	g := discovery.Gateway{Kind: discovery.GatewayStatic, Port: port}
	for _, a := range addrs {
		g.Addresses = append(g.Addresses, netip.MustParseAddr(a))
	}
	return g
}

func cluster(name string, gateways ...discovery.Gateway) *discovery.Cluster {
	return &discovery.Cluster{Name: name, GatewaySets: []discovery.GatewaySet{{Name: discovery.DefaultGatewaySet, Gateways: gateways}}}
}

func service(name string, ports []discovery.Port, gateways ...discovery.Gateway) *discovery.Service {
	return &discovery.Service{Namespace: "ns", Name: name, Kind: discovery.KindClusterIP, Ports: ports, Gateways: gateways}
}

func tcp(port, gateway uint16) []discovery.Port {
	return []discovery.Port{{Protocol: discovery.TCP, Port: port, Gateway: gateway}}
}

func table(clusters map[*discovery.Cluster][]*discovery.Service) *discovery.Table {
	t := discovery.NewTable()
	for c, services := range clusters {
		t.Apply(c.Name, discovery.Update{Cluster: c, Whole: true, Services: services}, discovery.Version{Epoch: 1})
	}
	return t
}

// lines are targets for people.
func lines(targets []probe.Target) []string {
	var out []string
	for _, t := range targets {
		where := t.Host
		if t.Addr.IsValid() {
			where = t.Addr.String()
		}
		out = append(out, fmt.Sprintf("%s %s:%d %d", t.Cluster, where, t.Port, t.Check))
	}
	return out
}

func TestOf(t *testing.T) {
	unchecked := static(443, "192.0.2.99")
	unchecked.Check = discovery.CheckNone
	secure := static(443, "192.0.2.1")
	secure.Check = discovery.CheckTLS
	tests := []struct {
		name     string
		cluster  *discovery.Cluster
		services []*discovery.Service
		want     []string
	}{
		{"a set", cluster("east", static(15443, "192.0.2.1", "2001:db8::1")), nil, []string{"east 192.0.2.1:15443 1", "east 2001:db8::1:15443 1"}},
		{
			"once, however many services use it", cluster("east", static(15443, "192.0.2.1"), static(15443, "192.0.2.1")),
			[]*discovery.Service{service("a", tcp(80, 0)), service("b", tcp(81, 0)), service("c", tcp(82, 0), static(15443, "192.0.2.1"))},
			[]string{"east 192.0.2.1:15443 1"},
		},
		{"another check is another target", cluster("east", static(443, "192.0.2.1"), secure), nil, []string{"east 192.0.2.1:443 1", "east 192.0.2.1:443 2"}},
		{"nobody is to check it", cluster("east", unchecked), []*discovery.Service{service("a", tcp(80, 0), unchecked)}, nil},
		{"our own cluster", cluster("west", static(15443, "192.0.2.1")), []*discovery.Service{service("a", tcp(80, 30080), static(0, "192.0.2.2"))}, nil},
		{
			"ports of services", cluster("east", static(0, "192.0.2.1")),
			[]*discovery.Service{service("a", tcp(80, 0)), service("b", tcp(80, 30080)), service("udp", []discovery.Port{{Protocol: discovery.UDP, Port: 53}})},
			[]string{"east 192.0.2.1:80 1", "east 192.0.2.1:30080 1"},
		},
		{
			"services' own come last", cluster("east", static(15443, "192.0.2.9")),
			[]*discovery.Service{service("a", tcp(80, 30080), static(0, "192.0.2.1"))},
			[]string{"east 192.0.2.9:15443 1", "east 192.0.2.1:30080 1"},
		},
		{
			"host names", cluster("east", discovery.Gateway{Kind: discovery.GatewayLoadBalancer, Hostname: "lb.example", Port: 443}), nil,
			[]string{"east lb.example:443 1"},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got := probe.Of(table(map[*discovery.Cluster][]*discovery.Service{tc.cluster: tc.services}), "west")
			require.ElementsMatch(t, tc.want, lines(got))
			if len(tc.want) > 0 {
				require.Equal(t, tc.want[0], lines(got)[0], "what comes first")
			}
			for _, target := range got {
				require.NoError(t, target.Validate())
			}
		})
	}
}

// However many a cluster names: bounded, the same ones each time, and every
// address before a second port of any.
func TestOfBounds(t *testing.T) {
	const size = 10_000
	var services []*discovery.Service
	for i := range size {
		// Two node ports on each of 5,000 nodes.
		node := netip.AddrFrom4([4]byte{198, 18, byte(i / 2 >> 8), byte(i / 2)})
		s := service(fmt.Sprint("s", i), tcp(80, uint16(30000+i%1000)), discovery.Gateway{Addresses: []netip.Addr{node}, Kind: discovery.GatewayNodePort})
		services = append(services, s)
	}
	set := static(15443, "192.0.2.1", "192.0.2.2")
	first := probe.Of(table(map[*discovery.Cluster][]*discovery.Service{cluster("evil", set): services}), "west")
	require.Len(t, first, 1024)
	require.ElementsMatch(t, []string{"evil 192.0.2.1:15443 1", "evil 192.0.2.2:15443 1"}, lines(first[:2]))
	seen := map[netip.Addr]bool{}
	for _, target := range first {
		require.False(t, seen[target.Addr], "a second port of %s", target.Addr)
		seen[target.Addr] = true
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(size, func(i, j int) { services[i], services[j] = services[j], services[i] })
	again := probe.Of(table(map[*discovery.Cluster][]*discovery.Service{cluster("evil", set): services}), "west")
	require.Equal(t, first, again)

	services = services[:0]
	for port := range uint16(1000) {
		services = append(services, service(fmt.Sprint("s", port), tcp(80, port+1), static(0, "198.51.100.1")))
	}
	got := probe.Of(table(map[*discovery.Cluster][]*discovery.Service{cluster("evil"): services}), "west")
	require.Len(t, got, 8, "one address is no port scan")
}

func TestSnapshotGateway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		n.set(at(1), refuse)
		n.set(at(2), refuse)
		p := start(t, n, probe.Config{})
		p.SetTargets([]probe.Target{target("east", at(1)), target("east", at(2)), target("east", at(3))})
		await(t, p, target("east", at(1)), probe.Down, 16e9)
		await(t, p, target("east", at(2)), probe.Down, 16e9)
		status := func(i ...int) probe.Status {
			g := &discovery.Gateway{}
			for _, i := range i {
				g.Addresses = append(g.Addresses, at(i).Addr())
			}
			return p.Snapshot().Gateway("east", g, 443).Status
		}
		require.Equal(t, probe.Up, status(1, 3))
		require.Equal(t, probe.Up, status(3, 1))
		require.Equal(t, probe.Down, status(1, 2))
		require.Equal(t, probe.Unknown, status(1, 4), "the other one may be up")
		require.Equal(t, probe.Unknown, status(4, 1))
		require.Equal(t, probe.Unknown, status())
		require.NotZero(t, p.Snapshot().Gateway("east", &discovery.Gateway{Addresses: []netip.Addr{at(1).Addr(), at(3).Addr()}}, 443).RTT)
	})
}

func TestFitFrom(t *testing.T) {
	own := cluster("west", static(443, "127.1.0.10"))
	own.PodCIDRs = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/64")}
	own.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}
	for addr, want := range map[string]bool{
		"10.1.2.3": false, "::ffff:10.1.2.3": false, "fd00:1::5": false, "10.96.0.1": false,
		"10.2.0.1": true, "192.0.2.1": true, "127.2.0.10": true, "169.254.169.254": false,
	} {
		require.Equal(t, want, probe.FitFrom(own)(netip.MustParseAddr(addr)), addr)
	}
	require.False(t, probe.FitFrom(nil)(netip.MustParseAddr("127.2.0.10")))
	require.True(t, probe.FitFrom(nil)(netip.MustParseAddr("10.1.2.3")))
}
