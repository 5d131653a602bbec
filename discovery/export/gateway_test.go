package export_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

func point(ip, host string, ports ...corev1.PortStatus) corev1.LoadBalancerIngress {
	return corev1.LoadBalancerIngress{IP: ip, Hostname: host, Ports: ports}
}

func TestGateways(t *testing.T) {
	lb := func(ip, host string) discovery.Gateway {
		g := discovery.Gateway{Hostname: host, Kind: discovery.GatewayLoadBalancer}
		if ip != "" {
			g.Addresses = addrs(ip)
		}
		return g
	}
	onNode := func(ips ...string) discovery.Gateway {
		return discovery.Gateway{Addresses: addrs(ips...), Kind: discovery.GatewayNodePort, Zone: "zone-a"}
	}
	gateway := func(value string) func(*corev1.Service) { return annotate(export.AnnotationGateway, value) }
	none := []discovery.Gateway(nil)
	failed := "PortInError"
	tests := []struct {
		name     string
		svc      *corev1.Service
		opts     export.Options
		want     []discovery.Gateway
		port     uint16 // at the gateway
		set      string
		problems []string
	}{
		{name: "ClusterIP: the default set", svc: service(), want: none},
		{name: "annotation: set", svc: service(gateway(" set:edge ")), set: "edge", want: none},
		{name: "annotation: address", svc: service(gateway("192.0.2.1")), want: []discovery.Gateway{static("192.0.2.1", 0)}},
		{
			name: "annotation: list, ordered, each once", svc: service(gateway("192.0.2.2:443, 192.0.2.1,2001:db8::1,[2001:db8::2]:443,[2001:db8::3], 192.0.2.1,")),
			want: []discovery.Gateway{static("192.0.2.1", 0), static("192.0.2.2", 443), static("2001:db8::1", 0), static("2001:db8::2", 443), static("2001:db8::3", 0)},
		},
		{
			name: "annotation: host", svc: service(gateway("GW.example.com.:8443")),
			want: []discovery.Gateway{{Hostname: "gw.example.com", Port: 8443, Kind: discovery.GatewayStatic}},
		},
		{
			name: "annotation: the good of a mixed list", svc: service(gateway("127.0.0.1,192.0.2.1,localhost")), want: []discovery.Gateway{static("192.0.2.1", 0)},
			problems: []string{"annotation isthmus.dev/gateway: address 127.0.0.1 refused: loopback", `annotation isthmus.dev/gateway: host "localhost" refused: loopback`},
		},
		{
			name: "annotation: loopback allowed", svc: service(gateway("127.1.0.10:8080")), opts: export.Options{AllowLoopback: true},
			want: []discovery.Gateway{static("127.1.0.10", 8080)},
		},
		{name: "annotation before load balancer", svc: service(gateway("192.0.2.1"), loadBalancer(point("192.0.2.9", ""))), want: []discovery.Gateway{static("192.0.2.1", 0)}},
		{
			name: "useless annotation: the load balancer", svc: service(gateway("???"), loadBalancer(point("192.0.2.9", ""))), want: []discovery.Gateway{lb("192.0.2.9", "")}, port: 80,
			problems: []string{
				`annotation isthmus.dev/gateway: host "???" has a label that is not a lower-case DNS label (a-z, 0-9 and inner '-')`,
				"annotation isthmus.dev/gateway: names no gateway that can be used",
			},
		},
		{
			name: "load balancer: addresses and host", svc: service(loadBalancer(point("192.0.2.9", ""), point("", "LB-1.elb.example.com"), point("192.0.2.8", "ignored.example"))),
			want: []discovery.Gateway{lb("", "lb-1.elb.example.com"), lb("192.0.2.8", ""), lb("192.0.2.9", "")}, port: 80,
		},
		{
			name: "load balancer: ipMode Proxy", svc: service(loadBalancer(corev1.LoadBalancerIngress{IP: "192.0.2.9", IPMode: new(corev1.LoadBalancerIPModeProxy)})),
			want: []discovery.Gateway{lb("192.0.2.9", "")}, port: 80,
		},
		{
			name: "load balancer: a point whose ports are all in error",
			svc:  service(loadBalancer(point("192.0.2.7", "", corev1.PortStatus{Port: 80, Error: &failed}), point("192.0.2.8", "", corev1.PortStatus{Port: 80}))),
			want: []discovery.Gateway{lb("192.0.2.8", "")}, port: 80,
			problems: []string{"load balancer 192.0.2.7: all its ports are in error"},
		},
		{
			name: "load balancer: pending", svc: service(loadBalancer()), want: none, problems: []string{"no gateway address yet"},
		},
		{
			name: "load balancer: pending, with node ports", svc: service(loadBalancer(), func(svc *corev1.Service) { svc.Spec.Ports[0].NodePort = 30080 }),
			want: []discovery.Gateway{onNode("198.51.100.1"), onNode("198.51.100.2")}, port: 30080,
		},
		{
			name: "load balancer: link-local refused", svc: service(loadBalancer(point("169.254.1.1", ""))), want: none,
			problems: []string{"load balancer: address 169.254.1.1 refused: link-local", "no gateway address yet"},
		},
		{
			name: "load balancer: Pod and Service CIDR refused", svc: service(loadBalancer(point("10.1.2.3", ""), point("10.96.0.9", ""), point("::ffff:10.1.2.4", ""))), want: none,
			opts: export.Options{PodCIDRs: prefixes("10.1.0.0/16"), ServiceCIDRs: prefixes("10.96.0.0/12")},
			problems: []string{
				"load balancer: address 10.1.2.3 refused: in Pod CIDR 10.1.0.0/16",
				"load balancer: address 10.96.0.9 refused: in Service CIDR 10.96.0.0/12",
				"load balancer: address 10.1.2.4 refused: in Pod CIDR 10.1.0.0/16", "no gateway address yet",
			},
		},
		{
			name: "load balancer: unspecified, multicast, broadcast, zone, not an address", want: none,
			svc: service(loadBalancer(point("0.0.0.0", ""), point("ff02::1", ""), point("255.255.255.255", ""), point("fe80::1%eth0", ""), point("x", ""), point("", ""))),
			problems: []string{
				"load balancer: address 0.0.0.0 refused: unspecified", "load balancer: address ff02::1 refused: multicast",
				"load balancer: address 255.255.255.255 refused: not unicast", "load balancer: address fe80::1%eth0 refused: has a zone",
				`load balancer: "x" is not an IP address`, "no gateway address yet",
			},
		},
		{name: "status of another type is old", svc: service(loadBalancer(point("192.0.2.9", "")), nodePort), want: []discovery.Gateway{onNode("198.51.100.1"), onNode("198.51.100.2")}, port: 30080},
		{name: "node port: internal only", svc: service(nodePort), opts: export.Options{NodeAddresses: export.AddressesInternal}, want: []discovery.Gateway{onNode("10.0.0.1"), onNode("10.0.0.2"), onNode("10.0.0.3")}, port: 30080},
		{name: "node port: external only", svc: service(nodePort), opts: export.Options{NodeAddresses: export.AddressesExternal}, want: []discovery.Gateway{onNode("198.51.100.1"), onNode("198.51.100.2")}, port: 30080},
		{name: "node port: at most so many nodes", svc: service(nodePort), opts: export.Options{MaxNodes: 1}, want: []discovery.Gateway{onNode("10.0.0.3")}, port: 30080},
		{
			name: "UDP only is not checked by TCP", svc: service(gateway("192.0.2.1"), func(svc *corev1.Service) { svc.Spec.Ports[0].Protocol = corev1.ProtocolUDP }),
			want: []discovery.Gateway{{Addresses: addrs("192.0.2.1"), Kind: discovery.GatewayStatic, Check: discovery.CheckNone}},
		},
	}
	// node-0 has an internal address only and sorts first; the others have both.
	nodes := nodesByName(node("node-0", "10.0.0.3"),
		node("node-1", "10.0.0.1", external("198.51.100.1")), node("node-2", "10.0.0.2", external("198.51.100.2")))
	endpoints := slicesOf(slice(pod{ip: "10.1.0.1", node: "node-2"}, pod{ip: "10.1.0.2", node: "node-1"}, pod{ip: "10.1.0.3", node: "node-1"}))
	internal := slicesOf(slice(pod{ip: "10.1.0.1", node: "node-2"}, pod{ip: "10.1.0.2", node: "node-1"}, pod{ip: "10.1.0.3", node: "node-0"}))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := export.Input{Service: test.svc, Slices: endpoints, Nodes: nodes, Opts: test.opts}
			if test.opts.NodeAddresses != "" || test.opts.MaxNodes != 0 {
				in.Slices = internal
			}
			got := export.Build(in)
			require.NotNil(t, got.Service, got.Reason)
			require.Equal(t, test.want, got.Service.Gateways)
			require.Equal(t, test.set, got.Service.GatewaySet)
			require.Equal(t, test.port, got.Service.Ports[0].Gateway)
			require.Equal(t, test.problems, got.Problems)
		})
	}
}

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func TestNodesThatCannotBeGateways(t *testing.T) {
	good := node("node-9", "10.0.0.9")
	tests := []struct {
		name string
		node *corev1.Node
		pod  pod
		why  string
	}{
		{"not ready", node("node-1", "10.0.0.1", notReady), pod{}, "node node-1: not ready"},
		{"without conditions", node("node-1", "10.0.0.1", func(n *corev1.Node) { n.Status.Conditions = nil }), pod{}, "node node-1: not ready"},
		{"being deleted", node("node-1", "10.0.0.1", func(n *corev1.Node) { n.DeletionTimestamp = new(good.CreationTimestamp) }), pod{}, "node node-1: being deleted"},
		{"unknown", node("other", "10.0.0.1"), pod{}, "node node-1: unknown"},
		{"without addresses", node("node-1", "10.0.0.1", func(n *corev1.Node) { n.Status.Addresses = nil }), pod{}, "node node-1: no address that can be a gateway"},
		{"with loopback only", node("node-1", "127.0.0.1"), pod{}, "node node-1: address 127.0.0.1 refused: loopback"},
		{"without ready endpoints", node("node-1", "10.0.0.1"), pod{ready: new(false)}, "no gateway address yet"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.pod.ip, test.pod.node = "10.1.0.1", "node-1"
			nodes := nodesByName(test.node, good)
			alone := export.Build(export.Input{Service: service(nodePort), Slices: slicesOf(slice(test.pod)), Nodes: nodes})
			require.Empty(t, alone.Service.Gateways)
			require.Zero(t, alone.Service.Ports[0].Gateway, "no node port without a node")
			require.Equal(t, test.why, alone.Problems[0])
			require.Contains(t, alone.Problems, "no gateway address yet")

			beside := slicesOf(slice(test.pod, pod{ip: "10.1.0.9", node: "node-9"}))
			got := export.Build(export.Input{Service: service(nodePort), Slices: beside, Nodes: nodes})
			require.Len(t, got.Service.Gateways, 1)
			require.Equal(t, addrs("10.0.0.9"), got.Service.Gateways[0].Addresses)
		})
	}
	t.Run("no nodes at all", func(t *testing.T) {
		got := export.Build(export.Input{Service: service(nodePort), Slices: slicesOf(slice(pod{ip: "10.1.0.1", node: "node-1"}))})
		require.Equal(t, []string{"node node-1: unknown", "no gateway address yet"}, got.Problems)
	})
}

func TestNodePortNamesTheFirstEightNodes(t *testing.T) {
	var pods []pod
	var nodes []*corev1.Node
	for i := range 30 {
		name := fmt.Sprintf("node-%02d", 29-i)
		pods = append(pods, pod{ip: fmt.Sprintf("10.1.0.%d", i+1), node: name})
		nodes = append(nodes, node(name, fmt.Sprintf("10.0.0.%d", 30-i)))
	}
	nodes[29].Spec.Unschedulable = true // node-00
	got := export.Build(export.Input{Service: service(nodePort), Slices: slicesOf(slice(pods...)), Nodes: nodesByName(nodes...)}).Service
	var have []netip.Addr
	for _, g := range got.Gateways {
		have = append(have, g.Addresses...)
	}
	require.Equal(t, addrs("10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8", "10.0.0.9"), have)
}

func TestUsesNodes(t *testing.T) {
	require.False(t, export.UsesNodes(service()))
	require.True(t, export.UsesNodes(service(nodePort)))
	require.False(t, export.UsesNodes(service(loadBalancer())), "without node ports")
	require.True(t, export.UsesNodes(service(nodePort, loadBalancer())))
}

// TestNodePortsOfAFamily: kube-proxy opens a node port for the Service's own
// address families only, whatever addresses the node has.
func TestNodePortsOfAFamily(t *testing.T) {
	dual := func(n *corev1.Node) {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "2001:db8::1"})
	}
	tests := []struct {
		name string
		ips  []string
		node *corev1.Node
		want []netip.Addr
	}{
		{"IPv4 only", []string{"10.96.0.7"}, node("node-1", "10.0.0.1", dual), addrs("10.0.0.1")},
		{"IPv6 only", []string{"fd00::7"}, node("node-1", "10.0.0.1", dual), addrs("2001:db8::1")},
		{"both", []string{"10.96.0.7", "fd00::7"}, node("node-1", "10.0.0.1", dual), addrs("10.0.0.1", "2001:db8::1")},
		{"IPv6 only behind an IPv4 external address", []string{"fd00::7"}, node("node-1", "10.0.0.1", dual, external("198.51.100.1")), addrs("2001:db8::1")},
		{"not told", nil, node("node-1", "10.0.0.1", dual), addrs("10.0.0.1", "2001:db8::1")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			svc := service(nodePort, func(svc *corev1.Service) { svc.Spec.ClusterIP, svc.Spec.ClusterIPs = "", test.ips })
			got := export.Build(export.Input{Service: svc, Slices: slicesOf(slice(pod{ip: "10.1.0.1", node: "node-1"})), Nodes: nodesByName(test.node)})
			require.Len(t, got.Service.Gateways, 1)
			require.Equal(t, test.want, got.Service.Gateways[0].Addresses)
		})
	}
}

// TestCordonedNodesAreTheLastResort: a cordon sends new Pods elsewhere and
// stops none; a drain then moves the endpoints, and the gateway with them.
func TestCordonedNodesAreTheLastResort(t *testing.T) {
	nodes := nodesByName(node("node-1", "10.0.0.1", cordoned), node("node-2", "10.0.0.2"), node("node-3", "10.0.0.3", cordoned),
		node("node-4", "10.0.0.4", cordoned, notReady))
	for name, test := range map[string]struct {
		on   []string
		want []string
	}{
		"beside others":        {[]string{"node-1", "node-2"}, []string{"10.0.0.2"}},
		"alone":                {[]string{"node-1", "node-3"}, []string{"10.0.0.1", "10.0.0.3"}},
		"and broken":           {[]string{"node-1", "node-4"}, []string{"10.0.0.1"}},
		"broken and no other":  {[]string{"node-4"}, nil},
		"with the rest broken": {[]string{"node-1", "node-9"}, []string{"10.0.0.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			var pods []pod
			for i, name := range test.on {
				pods = append(pods, pod{ip: fmt.Sprintf("10.1.0.%d", i+1), node: name})
			}
			got := export.Build(export.Input{Service: service(nodePort), Slices: slicesOf(slice(pods...)), Nodes: nodes}).Service
			var addrs []string
			for _, g := range got.Gateways {
				addrs = append(addrs, g.Addresses[0].String())
			}
			require.Equal(t, test.want, addrs)
		})
	}
}
