package export_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

func read[T any](t *testing.T, text string) *T {
	t.Helper()
	out := new(T)
	require.NoError(t, yaml.Unmarshal([]byte(text), out))
	return out
}

// listeners make a Gateway infra/edge at 203.0.113.1 with them.
func edge(t *testing.T, listeners ...string) *export.Gateway {
	t.Helper()
	return read[export.Gateway](t, `
metadata: {namespace: infra, name: edge}
spec: {listeners: [`+strings.Join(listeners, ", ")+`]}
status:
  addresses: [{type: IPAddress, value: 203.0.113.1}]
  conditions: [{type: Programmed, status: "True"}]
  listeners:
  - {name: broken, conditions: [{type: Programmed, status: "False"}]}
  - {name: selected, attachedRoutes: 1}
  - {name: selecting, attachedRoutes: 0}
`)
}

// to makes a route of production that Gateway infra/edge has accepted.
func to(t *testing.T, kind, parent, backends, hosts string) *export.Route {
	t.Helper()
	return read[export.Route](t, fmt.Sprintf(`
kind: %s
metadata: {namespace: production, name: user}
spec:
  hostnames: [%s]
  parentRefs: [{namespace: infra, name: edge%s}]
  rules: [{backendRefs: [%s]}]
status: {parents: [{parentRef: {namespace: infra, name: edge%[3]s}, conditions: [{type: Accepted, status: "True"}]}]}
`, kind, hosts, parent, backends))
}

const all = ", allowedRoutes: {namespaces: {from: All}}}"

func TestRoutes(t *testing.T) {
	plain := "{name: user, port: 80}"
	tests := []struct {
		name      string
		listeners []string
		route     *export.Route
		want      uint16 // the first port's at the gateway; 0: there is none
		problem   string
	}{
		{"the Service's own number before TLS", []string{"{name: tls, port: 443, protocol: HTTPS" + all, "{name: a, port: 80, protocol: HTTP" + all}, to(t, "HTTPRoute", "", plain, ""), 80, ""},
		{"TLS before the lowest", []string{"{name: a, port: 79, protocol: HTTP" + all, "{name: tls, port: 443, protocol: HTTPS" + all}, to(t, "HTTPRoute", "", plain, ""), 443, ""},
		{"the lowest", []string{"{name: b, port: 82, protocol: HTTP" + all, "{name: a, port: 81, protocol: HTTP" + all}, to(t, "GRPCRoute", "", plain, ""), 81, ""},
		{"no listener of the protocol", []string{"{name: a, port: 80, protocol: TCP" + all}, to(t, "HTTPRoute", "", plain, ""), 0, "HTTPRoute production/user: Gateway infra/edge has no listener that takes it"},
		{"TLS to a TLSRoute", []string{"{name: a, port: 8443, protocol: TLS" + all}, to(t, "TLSRoute", "", plain, ""), 8443, ""},
		{"UDP to a TCP port", []string{"{name: a, port: 80, protocol: UDP" + all}, to(t, "UDPRoute", "", plain, ""), 0, ""},
		{"a controller's protocol, named", []string{"{name: a, port: 80, protocol: example.com/x" + all}, to(t, "TCPRoute", ", sectionName: a", plain, ""), 80, ""},
		{"a controller's protocol, not named", []string{"{name: a, port: 80, protocol: example.com/x" + all}, to(t, "TCPRoute", "", plain, ""), 0, "TCPRoute production/user: Gateway infra/edge has no listener that takes it"},
		{"own namespace only, by default", []string{"{name: a, port: 80, protocol: HTTP}"}, to(t, "HTTPRoute", "", plain, ""), 0, "HTTPRoute production/user: Gateway infra/edge has no listener that takes it"},
		{"a selector whose listener has routes", []string{"{name: selected, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector}}}"}, to(t, "HTTPRoute", "", plain, ""), 80, ""},
		{"a selector whose listener has none", []string{"{name: selecting, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector}}}"}, to(t, "HTTPRoute", "", plain, ""), 0, "HTTPRoute production/user: Gateway infra/edge has no listener that takes it"},
		{"a kind that is not allowed", []string{"{name: a, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}, kinds: [{kind: GRPCRoute}]}}"}, to(t, "HTTPRoute", "", plain, ""), 0, "HTTPRoute production/user: Gateway infra/edge has no listener that takes it"},
		{"a broken listener", []string{"{name: broken, port: 80, protocol: HTTP" + all, "{name: b, port: 81, protocol: HTTP" + all}, to(t, "HTTPRoute", "", plain, ""), 81, ""},
		{"hosts in common", []string{`{name: a, port: 80, protocol: HTTP, hostname: "*.global"` + all}, to(t, "HTTPRoute", "", plain, "user.production.global"), 80, ""},
		{"no hosts in common", []string{`{name: a, port: 80, protocol: HTTP, hostname: "*.example.com"` + all}, to(t, "HTTPRoute", "", plain, "user.production.global"), 0, "HTTPRoute production/user: Gateway infra/edge has no listener that takes it"},
		{
			"another host than clients ask for",
			[]string{`{name: a, port: 80, protocol: HTTP, hostname: "*.example.com"` + all},
			to(t, "HTTPRoute", "", plain, ""), 80,
			"Gateway infra/edge answers to the host name *.example.com only: add a rule for user.production.global, or make that name an alias (annotation isthmus.dev/aliases)",
		},
		{"no traffic for it", []string{"{name: a, port: 80, protocol: HTTP" + all}, to(t, "HTTPRoute", "", "{name: user, port: 80, weight: 0}", ""), 0, ""},
		{"another port", []string{"{name: a, port: 80, protocol: HTTP" + all}, to(t, "HTTPRoute", "", "{name: user, port: 81}", ""), 0, ""},
		{"another kind of backend", []string{"{name: a, port: 80, protocol: HTTP" + all}, to(t, "HTTPRoute", "", "{group: example.com, kind: Bucket, name: user, port: 80}", ""), 0, ""},
		{"another kind of parent", []string{"{name: a, port: 80, protocol: HTTP" + all}, to(t, "HTTPRoute", ", group: \"\", kind: Service", plain, ""), 0, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			gw := edge(t, test.listeners...)
			got := export.Build(export.Input{
				Service: service(), Routes: []*export.Route{test.route},
				Gateway: func(at export.Object) *export.Gateway {
					require.Equal(t, export.Object{Namespace: "infra", Name: "edge"}, at)
					return gw
				},
			})
			require.NotNil(t, got.Service)
			require.Equal(t, test.problem, strings.Join(got.Problems, "; "))
			if test.want == 0 {
				require.Empty(t, got.Service.Gateways)
				return
			}
			require.Equal(t, []discovery.Gateway{{Addresses: addrs("203.0.113.1"), Kind: discovery.GatewayAPI}}, got.Service.Gateways)
			require.Equal(t, test.want, got.Service.Ports[0].Gateway)
		})
	}
}

// leads makes an Ingress of that name, at the address, with rules for hosts ("" is any).
func leads(t *testing.T, name, address string, hosts ...string) *networkingv1.Ingress {
	t.Helper()
	ing := read[networkingv1.Ingress](t, `
metadata: {namespace: production, name: `+name+`}
status: {loadBalancer: {ingress: [{ip: `+address+`}]}}
`)
	for _, host := range hosts {
		rule := read[networkingv1.IngressRule](t, "http: {paths: [{backend: {service: {name: user, port: {number: 80}}}}]}")
		rule.Host = host
		ing.Spec.Rules = append(ing.Spec.Rules, *rule)
	}
	return ing
}

func TestIngressHosts(t *testing.T) {
	for host, told := range map[string]bool{
		"": false, "user.production.global": false, "*.production.global": false, "*.global": false, "www.example.com": false, // an alias
		"shop.example.com": true, "*.example.org": true, "user.staging.global": true,
	} {
		t.Run(host, func(t *testing.T) {
			got := export.Build(export.Input{
				Service: service(annotate(export.AnnotationAliases, "www.example.com")), Ingresses: []*networkingv1.Ingress{leads(t, "web", "203.0.113.1", host)},
			})
			require.Len(t, got.Service.Gateways, 1, "it is a gateway all the same")
			require.Equal(t, told, slices.ContainsFunc(got.Problems, func(p string) bool { return strings.Contains(p, "answers to the host name "+host+" only") }))
		})
	}
}

// TestSeveralFronts: where they agree on the port it is the Service's port's;
// where not, each has its own.
func TestSeveralFronts(t *testing.T) {
	a, b := leads(t, "a", "203.0.113.1", ""), leads(t, "b", "203.0.113.2", "")
	build := func(edit ...func(*corev1.Service)) *discovery.Service {
		svc := service(edit...)
		svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Name: "admin", Port: 9090})
		return export.Build(export.Input{Service: svc, Ingresses: []*networkingv1.Ingress{b, a}}).Service
	}
	got := build()
	require.Equal(t, []discovery.Gateway{
		{Addresses: addrs("203.0.113.1"), Port: 80, Kind: discovery.GatewayIngress}, {Addresses: addrs("203.0.113.2"), Port: 80, Kind: discovery.GatewayIngress},
	}, got.Gateways)
	require.Equal(t, []uint16{80, 0}, []uint16{got.Ports[0].Gateway, got.Ports[1].Gateway}, "the other port is not behind them")

	b.Status.LoadBalancer.Ingress[0].Ports = []networkingv1.IngressPortStatus{{Port: 8443, Protocol: corev1.ProtocolTCP}}
	got = build()
	require.Equal(t, []discovery.Gateway{
		{Addresses: addrs("203.0.113.1"), Port: 80, Kind: discovery.GatewayIngress}, {Addresses: addrs("203.0.113.2"), Port: 8443, Kind: discovery.GatewayIngress},
	}, got.Gateways)
	require.Zero(t, got.Ports[0].Gateway)

	failed := "Broken"
	b.Status.LoadBalancer.Ingress[0].Ports[0].Error = &failed
	require.Len(t, build().Gateways, 1, "a point whose ports are all in error")
}

// TestFrontsAreCheckedWhereTheyListen: the first port of a Service may not be
// behind them.
func TestFrontsAreCheckedWhereTheyListen(t *testing.T) {
	in := export.Input{
		Service: service(func(svc *corev1.Service) {
			svc.Spec.Ports = []corev1.ServicePort{{Name: "admin", Port: 9090}, {Name: "http", Port: 80}, {Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53}}
		}),
		Ingresses: []*networkingv1.Ingress{leads(t, "web", "203.0.113.1", "")},
	}
	got := export.Build(in).Service
	require.Equal(t, uint16(80), got.Gateways[0].CheckPort(got))
	require.NotEqual(t, discovery.CheckNone, got.Gateways[0].Check)

	gw := edge(t, "{name: dns, port: 53, protocol: UDP"+all)
	in.Ingresses, in.Routes = nil, []*export.Route{to(t, "UDPRoute", "", "{name: user, port: 53}", "")}
	in.Gateway = func(export.Object) *export.Gateway { return gw }
	got = export.Build(in).Service
	require.Equal(t, uint16(53), got.Ports[2].Gateway)
	require.Equal(t, discovery.CheckNone, got.Gateways[0].Check, "nothing there speaks TCP")
}

func TestIngressClassUnknownOrGone(t *testing.T) {
	ing := leads(t, "web", "203.0.113.1", "")
	ing.Spec.IngressClassName = new("nginx")
	in := export.Input{Service: service(), Ingresses: []*networkingv1.Ingress{ing}}
	require.Len(t, export.Build(in).Service.Gateways, 1, "classes are not known: all count")
	in.IngressClass = func(name string) bool { return name == "nginx" }
	require.Len(t, export.Build(in).Service.Gateways, 1)
	in.IngressClass = func(string) bool { return false }
	got := export.Build(in)
	require.Empty(t, got.Service.Gateways)
	require.Equal(t, []string{"Ingress production/web: IngressClass nginx does not exist"}, got.Problems)
}

func TestCilium(t *testing.T) {
	const global, shared, affinity = export.AnnotationCiliumGlobal, export.AnnotationCiliumShared, export.AnnotationCiliumAffinity
	bare := func(pairs ...string) *corev1.Service {
		svc := service(annotate(pairs...))
		delete(svc.Annotations, export.AnnotationExport)
		return svc
	}
	tests := []struct {
		name     string
		svc      *corev1.Service
		mark     *export.Export
		all      bool
		reason   string
		problems int
	}{
		{"global", bare(global, "true"), nil, false, "", 0},
		{"not global", bare(global, "false"), nil, false, export.ReasonNotDeclared, 0},
		{"not shared", bare(global, "true", shared, "false"), nil, false, export.ReasonNotShared, 0},
		{"not shared, of all", bare(global, "true", shared, "false"), nil, true, export.ReasonNotShared, 0},
		{"not shared, but a ServiceExport", bare(global, "true", shared, "false"), &export.Export{}, false, "", 0},
		{"not shared, but our annotation", service(annotate(global, "true", shared, "false")), nil, false, "", 0},
		{"our annotation says no", service(annotate(global, "true", export.AnnotationExport, "false")), nil, false, export.ReasonOptedOut, 0},
		{"shared alone means nothing", bare(shared, "true"), nil, false, export.ReasonNotDeclared, 0},
		{"unreadable", bare(global, "yes please"), nil, false, export.ReasonNotDeclared, 1},
		{"shared is unreadable", bare(global, "true", shared, "maybe"), nil, false, export.ReasonNotShared, 1},
		{"affinity local is what we do", bare(global, "true", affinity, "local"), nil, false, "", 0},
		{"affinity remote is the viewer's to say", bare(global, "true", affinity, "remote"), nil, false, "", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := export.Build(export.Input{Service: test.svc, Export: test.mark, Opts: export.Options{All: test.all}})
			require.Equal(t, test.reason, got.Reason)
			require.Len(t, got.Problems, test.problems, "%v", got.Problems)
		})
	}
}

func TestNetworks(t *testing.T) {
	for _, test := range []struct{ in, want []string }{
		{nil, nil},
		{[]string{"10.1.0.0/24"}, []string{"10.1.0.0/24"}},
		{[]string{"10.1.1.0/24", "10.1.0.0/24", "10.1.3.0/24"}, []string{"10.1.0.0/23", "10.1.3.0/24"}},
		{[]string{"10.1.3.0/24", "10.1.2.0/24", "10.1.1.0/24", "10.1.0.0/24"}, []string{"10.1.0.0/22"}},
		{[]string{"10.1.1.0/24", "10.1.2.0/24"}, []string{"10.1.1.0/24", "10.1.2.0/24"}}, // no halves of one
		{[]string{"10.0.0.0/8", "10.1.0.0/24", "10.1.0.9/32"}, []string{"10.0.0.0/8"}},
		{[]string{"10.1.0.9/24", "fd00::/64", "fd00:0:0:1::/64"}, []string{"10.1.0.0/24", "fd00::/63"}},
	} {
		require.Equal(t, prefixes(test.want...), export.Networks(prefixes(test.in...)), "%v", test.in)
	}
	nodes := []*corev1.Node{{Spec: corev1.NodeSpec{PodCIDRs: []string{"10.1.0.0/24", "fd00::/64"}}}, nil, {Spec: corev1.NodeSpec{PodCIDRs: []string{"10.1.1.0/24", "nonsense"}}}}
	require.Equal(t, prefixes("10.1.0.0/23", "fd00::/64"), export.PodNetworks(nodes))
}

func TestConflict(t *testing.T) {
	record := func(at int64, change ...func(*discovery.Service)) *discovery.Service {
		s := &discovery.Service{Kind: discovery.KindClusterIP, ExportedAt: at, Ports: []discovery.Port{{Name: "http", Protocol: discovery.TCP, Port: 80}, {Name: "dns", Protocol: discovery.UDP, Port: 53}}}
		for _, f := range change {
			f(s)
		}
		return s
	}
	reordered := func(s *discovery.Service) { slices.Reverse(s.Ports); s.Ports[0].Gateway = 30053 }
	port := func(s *discovery.Service) { s.Ports[0].Port = 8080 }
	kind := func(s *discovery.Service) { s.Kind = discovery.KindHeadless }
	affinity := func(s *discovery.Service) { s.ClientAffinity = true }
	for _, test := range []struct {
		name         string
		east         *discovery.Service
		reason, wins string
	}{
		{"alike", record(5, reordered), "", ""},
		{"ports", record(5, port), export.ConflictPort, "west"},
		{"ports, and they were first", record(2, port), export.ConflictPort, "east"},
		{"as old: by name", record(3, port), export.ConflictPort, "east"},
		{"of unknown age", record(0, port), export.ConflictPort, "west"},
		{"type comes first", record(5, port, kind, affinity), export.ConflictType, "west"},
		{"VMs there, Pods here", record(5, func(s *discovery.Service) { s.Kind = discovery.KindExternal }), "", ""},
		{"affinity", record(5, affinity), export.ConflictAffinity, "west"},
	} {
		t.Run(test.name, func(t *testing.T) {
			reason, message := export.Conflict("west", []discovery.Candidate{{Cluster: "east", Service: test.east}, {Cluster: "west", Service: record(3)}})
			require.Equal(t, test.reason, reason)
			if reason != "" {
				require.Contains(t, message, "cluster east has another than west")
				require.Contains(t, message, "it is that of "+test.wins+",")
			}
		})
	}
	reason, _ := export.Conflict("west", []discovery.Candidate{{Cluster: "east", Service: record(1)}})
	require.Empty(t, reason, "not ours")
}

func TestGatewaySets(t *testing.T) {
	in := export.SetInput{
		Service: func(at export.Object) (*corev1.Service, []*discoveryv1.EndpointSlice) {
			switch at.Name {
			case "lb":
				return service(loadBalancer(point("203.0.113.2", ""), point("203.0.113.1", ""), point("", "lb.example.net"))), nil
			case "ports":
				return service(loadBalancer(point("203.0.113.2", "")), func(svc *corev1.Service) { svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Port: 81}) }), nil
			case "node":
				return service(nodePort), slicesOf(slice(pod{ip: "10.1.0.1", node: "node-1"}))
			case "plain":
				return service(), nil
			}
			return nil, nil
		},
	}
	in.Nodes = nodesByName(node("node-1", "198.51.100.1"))
	entry := func(name string, port uint16) export.SetEntry {
		return export.SetEntry{Set: "default", From: export.FromService, Object: export.Object{Namespace: "production", Name: name}, Gateway: discovery.Gateway{Port: port, Weight: 3, Check: discovery.CheckTLS, Zone: "zone-x"}}
	}
	for _, test := range []struct {
		name    string
		entry   export.SetEntry
		want    []discovery.Gateway
		problem string
	}{
		{"a load balancer with one port", entry("lb", 0), []discovery.Gateway{
			{Addresses: addrs("203.0.113.1", "203.0.113.2"), Port: 80, Kind: discovery.GatewayLoadBalancer, Zone: "zone-x", Weight: 3, Check: discovery.CheckTLS},
			{Hostname: "lb.example.net", Port: 80, Kind: discovery.GatewayLoadBalancer, Zone: "zone-x", Weight: 3, Check: discovery.CheckTLS},
		}, ""},
		{"with several: each service's own", entry("ports", 0), []discovery.Gateway{{Addresses: addrs("203.0.113.2"), Kind: discovery.GatewayLoadBalancer, Zone: "zone-x", Weight: 3, Check: discovery.CheckTLS}}, ""},
		{"with a port of its own", entry("ports", 15443), []discovery.Gateway{{Addresses: addrs("203.0.113.2"), Port: 15443, Kind: discovery.GatewayLoadBalancer, Zone: "zone-x", Weight: 3, Check: discovery.CheckTLS}}, ""},
		{"node ports", entry("node", 80), []discovery.Gateway{{Addresses: addrs("198.51.100.1"), Port: 30080, Kind: discovery.GatewayNodePort, Zone: "zone-a", Weight: 3, Check: discovery.CheckTLS}}, ""},
		{"no such node port", entry("node", 81), nil, "gateway set default: Service production/node: has no node port for port 81"},
		{"of type ClusterIP", entry("plain", 0), nil, "gateway set default: Service production/plain: is of type ClusterIP: only LoadBalancer and NodePort are reached from outside"},
		{"none", entry("other", 0), nil, "gateway set default: Service production/other: does not exist"},
	} {
		t.Run(test.name, func(t *testing.T) {
			sets, problems := export.GatewaySets([]export.SetEntry{test.entry}, in)
			require.Equal(t, test.problem, strings.Join(problems, "; "))
			require.Equal(t, []discovery.GatewaySet{{Name: "default", Gateways: test.want}}, sets)
			require.NoError(t, (&discovery.Cluster{Name: "west", GatewaySets: sets}).Validate())
		})
	}
	many := slices.Repeat([]export.SetEntry{{Set: "a", Gateway: static("192.0.2.1", 0)}}, discovery.MaxGateways+3)
	sets, problems := export.GatewaySets(many, export.SetInput{})
	require.Len(t, sets[0].Gateways, discovery.MaxGateways)
	require.Len(t, problems, 3)
}
