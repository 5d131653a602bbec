package kube_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
	"github.com/isthmus-dns/isthmus/discovery/kube"
	"github.com/isthmus-dns/isthmus/test/kubetest"
)

// gatewayCRDs are the files of the Gateway API's standard channel, as its module
// brings them.
func gatewayCRDs(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	require.NoError(t, err, "the module sigs.k8s.io/gateway-api")
	var files []string
	for _, kind := range []string{"gateways", "httproutes", "tcproutes", "referencegrants"} {
		file := filepath.Join(strings.TrimSpace(string(out)), "config", "crd", "standard", "gateway.networking.k8s.io_"+kind+".yaml")
		_, err := os.Stat(file)
		require.NoError(t, err)
		files = append(files, file)
	}
	return files
}

// step is something that happens in the cluster, and what is exported then.
type step struct {
	what string
	do   func(r *row)
	// want are the gateways of the Service "web", as view.shown writes them.
	want string
	// says is in the log for the row's namespace: needed where want is what
	// was there before.
	says string
	// goes is how gateways are gone that were there: lost, which is held for a
	// while, or taken away.
	goes string
	// set asks for the gateways of the set of that name instead.
	set string
}

const lost, taken = "lost", "taken away"

// row has a namespace of its own, in which "web" is exported with port 8080,
// and nodes of its own.
type row struct {
	*world
	ns string
}

func (r *row) web(kind corev1.ServiceType, change ...func(*corev1.Service)) {
	r.t.Helper()
	r.service(r.ns, "web", kind, change...)
}

// status sets the load balancer's addresses, IPs or host names.
func (r *row) status(addresses ...string) {
	r.t.Helper()
	var points []corev1.LoadBalancerIngress
	for _, a := range addresses {
		if strings.ContainsAny(a, "ghijklmnopqrstuvwxyz") {
			points = append(points, corev1.LoadBalancerIngress{Hostname: a})
		} else {
			points = append(points, corev1.LoadBalancerIngress{IP: a})
		}
	}
	r.loadBalancer(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: r.ns, Name: "web"}}, points...)
}

func (r *row) nodeName(name string) string { return r.ns + "-" + name }

// pods puts one endpoint on each of the nodes, all ready.
func (r *row) pods(nodes ...string) {
	r.t.Helper()
	var endpoints []string
	for i, n := range nodes {
		endpoints = append(endpoints, fmt.Sprintf("10.3.0.%d@%s", i+1, r.nodeName(n)))
	}
	r.slice(r.ns, "web-1", "web", endpoints...)
}

// onNodes makes nodes a, b… with the addresses 198.51.100.1, .2… and a NodePort
// Service with a Pod on each.
func (r *row) onNodes(names string) {
	r.t.Helper()
	addresses := nodesNamed(names)
	for _, name := range sortedKeys(addresses) {
		r.node(r.nodeName(name), "zone-1", addresses[name])
	}
	r.nodePort()
	r.pods(strings.Split(names, "")...)
}

// nodePort makes the Service with the node port that the rows expect: theirs
// differ, since a cluster has each but once.
func (r *row) nodePort() {
	r.t.Helper()
	r.web(corev1.ServiceTypeNodePort, func(svc *corev1.Service) { svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal })
}

// shared is what the rows have in common.
type shared struct {
	c   *kubetest.Cluster
	v   *view
	log *lines
}

func (s *shared) run(t *testing.T, ns string, steps []step) {
	t.Helper()
	r := &row{world: newWorld(t, s.c), ns: ns}
	r.namespace(ns)
	for i, st := range steps {
		st.do(r)
		what := fmt.Sprintf("step %d, %s", i+1, st.what)
		if st.says != "" {
			eventually(t, func() bool { return s.log.has(ns, st.says) }, what+": the log has "+st.says)
		}
		got := func() string {
			if st.set != "" {
				return s.v.shownSet(st.set)
			}
			return s.v.portless(ns)
		}
		eventually(t, func() bool { return got() == st.want }, what+": want "+st.want)
		if st.goes != "" {
			eventually(t, func() bool { return s.v.means(ns, "web") == (st.goes == taken) }, what+": "+st.goes)
		}
	}
}

// portless is shown with NODEPORT in the place of the number that the API
// server chose.
func (v *view) portless(ns string) string {
	s := v.get(ns, "web")
	text := v.shown(ns, "web")
	if s == nil || !strings.HasPrefix(text, "nodeport") {
		return text
	}
	return strings.ReplaceAll(text, fmt.Sprintf(":%d", s.Ports[0].Gateway), ":NODEPORT")
}

// entries are the gateway sets of the rows that have some.
func entries() []export.SetEntry {
	entry := func(set string, from export.From, port uint16) export.SetEntry {
		return export.SetEntry{
			Set: set, From: from, Object: export.Object{Namespace: set, Name: "web"},
			Gateway: discovery.Gateway{Port: port, Weight: 1, Check: discovery.CheckTCP},
		}
	}
	return []export.SetEntry{
		entry("set-service", export.FromService, 8080),
		entry("set-nodeport", export.FromService, 0),
		entry("set-ingress", export.FromIngress, 443),
		entry("set-gateway", export.FromGateway, 0),
	}
}

// TestGatewayLifecycle is the life of gateways, each row against a real API
// server and all at once.
func TestGatewayLifecycle(t *testing.T) {
	c := startCluster(t)
	c.Apply(gatewayCRDs(t)...)
	log := &lines{}
	v := follow(t, newSource(t, watcher(c), log.to, func(cfg *kube.Config) { cfg.Gateways = entries }))
	v.synced(t)
	s := &shared{c: c, v: v, log: log}
	t.Run("rows", func(t *testing.T) {
		for name, steps := range lifecycle() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s.run(t, name, steps)
			})
		}
	})
}

func lifecycle() map[string][]step {
	lb := func(r *row) { r.web(corev1.ServiceTypeLoadBalancer) }
	status := func(addresses ...string) func(*row) { return func(r *row) { r.status(addresses...) } }
	clusterIP := func(r *row) { r.web(corev1.ServiceTypeClusterIP) }
	nodes := func(names string) func(*row) { return func(r *row) { r.onNodes(names) } }
	annotated := func(value string) func(*row) {
		return func(r *row) {
			a := map[string]string{export.AnnotationExport: "true"}
			if value != "" {
				a[export.AnnotationGateway] = value
			}
			r.annotate(r.ns, "web", a)
		}
	}
	put := func(kind, name, text string) func(*row) { return func(r *row) { r.put(kind, r.ns, name, text) } }
	drop := func(kind, name string) func(*row) { return func(r *row) { r.drop(kind, r.ns, name) } }
	onEdge := route("name: edge", "name: web", true)
	return map[string][]step{
		"lb-no-address": {
			{what: "pending", do: lb, says: "no gateway address yet"},
			{what: "assigned", do: status("203.0.113.1"), want: "loadbalancer 203.0.113.1:8080"},
		},
		"lb-hostname": {
			{what: "a host name only", do: func(r *row) { lb(r); r.status("lb-1.example.net") }, want: "loadbalancer lb-1.example.net:8080"},
		},
		"lb-two-addresses": {
			{what: "two", do: func(r *row) { lb(r); r.status("203.0.113.2", "203.0.113.1") }, want: "loadbalancer 203.0.113.1:8080, loadbalancer 203.0.113.2:8080"},
			{what: "one is left", do: status("203.0.113.2"), want: "loadbalancer 203.0.113.2:8080"},
		},
		"lb-v6-only": {
			{what: "IPv6", do: func(r *row) { lb(r); r.status("2001:db8::1") }, want: "loadbalancer 2001:db8::1:8080"},
		},
		"lb-dual-stack": {
			{what: "both families", do: func(r *row) { lb(r); r.status("203.0.113.1", "2001:db8::1") }, want: "loadbalancer 2001:db8::1:8080, loadbalancer 203.0.113.1:8080"},
		},
		"lb-ipmode-proxy": {
			{what: "the proxy's address", want: "loadbalancer 203.0.113.1:8080", do: func(r *row) {
				lb(r)
				mode := corev1.LoadBalancerIPModeProxy
				r.loadBalancer(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: r.ns, Name: "web"}}, corev1.LoadBalancerIngress{IP: "203.0.113.1", IPMode: &mode})
			}},
		},
		"lb-replaced": {
			{what: "one", do: func(r *row) { lb(r); r.status("203.0.113.1") }, want: "loadbalancer 203.0.113.1:8080"},
			{what: "another", do: status("203.0.113.9"), want: "loadbalancer 203.0.113.9:8080"},
		},
		"lb-emptied": {
			{what: "one", do: func(r *row) { lb(r); r.status("203.0.113.1") }, want: "loadbalancer 203.0.113.1:8080"},
			{what: "none (the publisher holds the old one)", do: status(), want: "", goes: lost},
			{what: "back", do: status("203.0.113.1"), want: "loadbalancer 203.0.113.1:8080"},
		},
		"lb-refused": {
			{what: "a ClusterIP", do: func(r *row) { lb(r); r.status("10.96.3.4") }, says: "refused: in Service CIDR 10.96.0.0/16"},
			{what: "link-local", do: status("169.254.1.1"), says: "refused: link-local"},
			{what: "a good one beside it", do: status("169.254.1.1", "203.0.113.1"), want: "loadbalancer 203.0.113.1:8080"},
		},
		"lb-in-pod-network": {
			{what: "outside", do: func(r *row) { lb(r); r.status("10.77.0.9") }, want: "loadbalancer 10.77.0.9:8080"},
			{what: "a node has that network", says: "refused: in Pod CIDR 10.77.0.0/24", do: func(r *row) {
				_, err := r.c.CoreV1().Nodes().Create(r.t.Context(), &corev1.Node{
					ObjectMeta: metav1.ObjectMeta{Name: r.nodeName("a")}, Spec: corev1.NodeSpec{PodCIDR: "10.77.0.0/24", PodCIDRs: []string{"10.77.0.0/24"}},
				}, metav1.CreateOptions{})
				require.NoError(r.t, err)
			}},
		},
		"lb-becomes-clusterip": {
			{what: "an address", do: func(r *row) { lb(r); r.status("203.0.113.1") }, want: "loadbalancer 203.0.113.1:8080"},
			{what: "the type changes", do: func(r *row) {
				r.changeService(r.ns, "web", func(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeClusterIP; svc.Spec.Ports[0].NodePort = 0 })
			}, goes: taken},
		},
		"node-cordoned": {
			{what: "two", do: nodes("ab"), want: "nodeport 198.51.100.1:NODEPORT, nodeport 198.51.100.2:NODEPORT"},
			{what: "cordoned", do: func(r *row) { r.changeNode(r.nodeName("a"), func(n *corev1.Node) { n.Spec.Unschedulable = true }) }, want: "nodeport 198.51.100.2:NODEPORT"},
			{what: "uncordoned", do: func(r *row) { r.changeNode(r.nodeName("a"), func(n *corev1.Node) { n.Spec.Unschedulable = false }) }, want: "nodeport 198.51.100.1:NODEPORT, nodeport 198.51.100.2:NODEPORT"},
		},
		"node-gone": {
			{what: "two", do: nodes("ab"), want: "nodeport 198.51.100.1:NODEPORT, nodeport 198.51.100.2:NODEPORT"},
			{what: "deleted", do: func(r *row) {
				require.NoError(r.t, r.c.CoreV1().Nodes().Delete(r.t.Context(), r.nodeName("b"), metav1.DeleteOptions{}))
			}, want: "nodeport 198.51.100.1:NODEPORT"},
		},
		"node-not-ready": {
			{what: "two", do: nodes("ab"), want: "nodeport 198.51.100.1:NODEPORT, nodeport 198.51.100.2:NODEPORT"},
			{what: "not ready", do: func(r *row) {
				r.nodeStatus(r.nodeName("a"), func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionUnknown })
			}, want: "nodeport 198.51.100.2:NODEPORT"},
		},
		"node-local-endpoints-move": {
			{what: "on one of two", do: func(r *row) { r.onNodes("ab"); r.pods("a") }, want: "nodeport 198.51.100.1:NODEPORT"},
			{what: "moved", do: func(r *row) { r.pods("b") }, want: "nodeport 198.51.100.2:NODEPORT"},
			{what: "not ready there", do: func(r *row) { r.slice(r.ns, "web-1", "web", "-10.3.0.1@"+r.nodeName("b")) }, want: "", goes: lost},
		},
		"node-more-than-eight": {
			{what: "the first eight of ten", do: nodes("abcdefghij"), want: nodePorts(1, 2, 3, 4, 5, 6, 7, 8)},
			{what: "one of them goes, one moves up", do: func(r *row) {
				require.NoError(r.t, r.c.CoreV1().Nodes().Delete(r.t.Context(), r.nodeName("c"), metav1.DeleteOptions{}))
			}, want: nodePorts(1, 2, 4, 5, 6, 7, 8, 9)},
			{what: "one beyond goes", do: func(r *row) {
				require.NoError(r.t, r.c.CoreV1().Nodes().Delete(r.t.Context(), r.nodeName("j"), metav1.DeleteOptions{}))
				r.annotate(r.ns, "web", map[string]string{export.AnnotationExport: "true", export.AnnotationWeight: "2"})
			}, want: nodePorts(1, 2, 4, 5, 6, 7, 8, 9)},
		},
		"node-external": {
			{what: "internal", do: nodes("a"), want: "nodeport 198.51.100.1:NODEPORT"},
			{what: "external", do: func(r *row) {
				r.nodeStatus(r.nodeName("a"), func(n *corev1.Node) {
					n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: "203.0.113.77"})
				})
			}, want: "nodeport 203.0.113.77:NODEPORT"},
		},
		"ingress-address": {
			{what: "no address", do: func(r *row) { clusterIP(r); r.put("Ingress", r.ns, "web", ingress("")) }, says: "Ingress ingress-address/web: no address yet"},
			{what: "an address", do: put("Ingress", "web", ingress("", "203.0.113.1")), want: "ingress 203.0.113.1:80"},
			{what: "a host name beside it", do: put("Ingress", "web", ingress("", "203.0.113.1", "in.example.net")), want: "ingress 203.0.113.1:80, ingress in.example.net:80"},
			{what: "leads elsewhere", do: put("Ingress", "web", strings.ReplaceAll(ingress("", "203.0.113.1"), "name: web", "name: other")), want: ""},
			{what: "leads here again", do: put("Ingress", "web", ingress("", "203.0.113.1")), want: "ingress 203.0.113.1:80"},
			{what: "deleted", do: drop("Ingress", "web"), want: "", goes: taken},
		},
		"ingress-class-removed": {
			{what: "class and address", do: func(r *row) {
				r.put("IngressClass", "", r.ns, "spec: {controller: example.com/c}")
				clusterIP(r)
				r.put("Ingress", r.ns, "web", ingress(r.ns, "203.0.113.1"))
			}, want: "ingress 203.0.113.1:80"},
			{what: "the class is deleted", do: func(r *row) { r.drop("IngressClass", "", r.ns) }, says: "IngressClass ingress-class-removed does not exist", goes: lost},
			{what: "the class is back", do: func(r *row) { r.put("IngressClass", "", r.ns, "spec: {controller: example.com/c}") }, want: "ingress 203.0.113.1:80"},
		},
		"ingress-tls": {
			{what: "HTTPS, as the Service's port is neither", do: func(r *row) {
				clusterIP(r)
				r.put("Ingress", r.ns, "web", strings.Replace(ingress("", "203.0.113.1"), "spec:\n", "spec:\n  tls: [{secretName: web}]\n", 1))
			}, want: "ingress 203.0.113.1:443"},
		},
		"gateway-not-programmed": {
			{what: "not programmed", do: func(r *row) {
				clusterIP(r)
				r.put("Gateway", r.ns, "edge", gateway(false, "203.0.113.1"))
				r.put("HTTPRoute", r.ns, "web", onEdge)
			}, says: "Gateway gateway-not-programmed/edge is not programmed: AddressNotAssigned"},
			{what: "programmed", do: put("Gateway", "edge", gateway(true, "203.0.113.1")), want: "gateway 203.0.113.1:80"},
			{what: "another address", do: put("Gateway", "edge", gateway(true, "203.0.113.5", "gw.example.net")), want: "gateway 203.0.113.5:80, gateway gw.example.net:80"},
			{what: "not programmed any more", do: put("Gateway", "edge", gateway(false)), want: "", goes: lost},
		},
		"gateway-deleted": {
			{what: "attached", do: func(r *row) {
				clusterIP(r)
				r.put("Gateway", r.ns, "edge", gateway(true, "203.0.113.1"))
				r.put("HTTPRoute", r.ns, "web", onEdge)
			}, want: "gateway 203.0.113.1:80"},
			{what: "deleted", do: drop("Gateway", "edge"), says: "Gateway gateway-deleted/edge does not exist", goes: taken},
		},
		"route-detached": {
			{what: "attached", do: func(r *row) {
				clusterIP(r)
				r.put("Gateway", r.ns, "edge", gateway(true, "203.0.113.1"))
				r.put("HTTPRoute", r.ns, "web", onEdge)
			}, want: "gateway 203.0.113.1:80"},
			{what: "not accepted any more", do: put("HTTPRoute", "web", route("name: edge", "name: web", false)), says: "has not accepted it: NoMatchingParent", goes: lost},
			{what: "accepted again", do: put("HTTPRoute", "web", onEdge), want: "gateway 203.0.113.1:80"},
			{what: "to another parent", do: put("HTTPRoute", "web", route("name: other", "name: web", true)), says: "Gateway route-detached/other does not exist"},
			{what: "back, and deleted", do: func(r *row) { r.put("HTTPRoute", r.ns, "web", onEdge); r.drop("HTTPRoute", r.ns, "web") }},
		},
		"route-section-and-port": {
			{what: "by section", do: func(r *row) {
				clusterIP(r)
				r.put("Gateway", r.ns, "edge", strings.Replace(gateway(true, "203.0.113.1"), "listeners:\n",
					"listeners:\n  - {name: admin, port: 8443, protocol: HTTP}\n  - {name: raw, port: 9000, protocol: TCP}\n", 1))
				r.put("HTTPRoute", r.ns, "web", route("name: edge, sectionName: admin", "name: web", true))
			}, want: "gateway 203.0.113.1:8443"},
			{what: "by port", do: put("HTTPRoute", "web", route("name: edge, port: 80", "name: web", true)), want: "gateway 203.0.113.1:80"},
			{what: "by neither: the lowest that speaks HTTP", do: put("HTTPRoute", "web", onEdge), want: "gateway 203.0.113.1:80"},
			{what: "a section that does not fit", do: put("HTTPRoute", "web", route("name: edge, sectionName: raw", "name: web", true)), says: "has no listener that takes it"},
			{what: "a TCPRoute to it", do: put("TCPRoute", "web", route("name: edge, sectionName: raw", "name: web", true)), want: "gateway 203.0.113.1:9000"},
		},
		"route-from-another-namespace": {
			{what: "no grant", do: func(r *row) {
				clusterIP(r)
				r.namespace(r.ns + "-edge")
				r.put("Gateway", r.ns+"-edge", "edge", gateway(true, "203.0.113.1"))
				r.put("HTTPRoute", r.ns+"-edge", "web", route("name: edge", "name: web, namespace: "+r.ns, true))
			}, says: "no ReferenceGrant in route-from-another-namespace lets it lead here"},
			{what: "granted", do: func(r *row) {
				r.put("ReferenceGrant", r.ns, "edge", "spec:\n  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: "+r.ns+"-edge}]\n  to: [{group: \"\", kind: Service, name: web}]")
			}, want: "gateway 203.0.113.1:80"},
			{what: "for another Service only", do: func(r *row) {
				r.put("ReferenceGrant", r.ns, "edge", "spec:\n  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: "+r.ns+"-edge}]\n  to: [{group: \"\", kind: Service, name: other}]")
			}, want: ""},
			{what: "for all", do: func(r *row) {
				r.put("ReferenceGrant", r.ns, "edge", "spec:\n  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: "+r.ns+"-edge}]\n  to: [{group: \"\", kind: Service}]")
			}, want: "gateway 203.0.113.1:80"},
			{what: "taken back", do: drop("ReferenceGrant", "edge"), want: "", goes: taken},
		},
		"order-of-sources": {
			{what: "node ports", do: nodes("a"), want: "nodeport 198.51.100.1:NODEPORT"},
			{what: "an Ingress", do: put("Ingress", "web", ingress("", "203.0.113.1")), want: "ingress 203.0.113.1:80"},
			{what: "the load balancer", do: func(r *row) {
				r.changeService(r.ns, "web", func(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeLoadBalancer })
				r.status("203.0.113.2")
			}, want: "loadbalancer 203.0.113.2:8080"},
			{what: "the annotation", do: annotated("203.0.113.3:99"), want: "static 203.0.113.3:99"},
			{what: "and back", do: annotated(""), want: "loadbalancer 203.0.113.2:8080"},
		},
		"annotation": {
			{what: "none: the default set", do: clusterIP, want: ""},
			{what: "set", do: annotated("192.0.2.1:443, gw.example.net"), want: "static 192.0.2.1:443, static gw.example.net:0"},
			{what: "names a set", do: annotated("set:edge"), want: "set edge"},
			{what: "invalid", do: annotated("127.0.0.1"), says: "names no gateway that can be used"},
			{what: "valid", do: annotated("192.0.2.2"), want: "static 192.0.2.2:0"},
			{what: "removed", do: annotated(""), want: ""},
		},
		"cilium": {
			{what: "not global", do: func(r *row) { r.web(corev1.ServiceTypeClusterIP, undeclared) }, want: "absent"},
			{what: "global", do: func(r *row) { r.annotate(r.ns, "web", map[string]string{"service.cilium.io/global": "true"}) }, want: ""},
			{what: "not shared", do: func(r *row) {
				r.annotate(r.ns, "web", map[string]string{"service.cilium.io/global": "true", "service.cilium.io/shared": "false"})
			}, want: "absent"},
			{what: "with affinity", do: func(r *row) {
				r.annotate(r.ns, "web", map[string]string{"service.cilium.io/global": "true", "service.cilium.io/affinity": "remote"})
			}, says: "is not taken over", want: ""},
		},
		"set-service": {
			{what: "no such Service", do: func(*row) {}, set: "set-service", want: "", says: "Service set-service/web: does not exist"},
			{what: "pending", do: lb, set: "set-service", want: "", says: "Service set-service/web: no"},
			{what: "an address", do: status("203.0.113.1", "203.0.113.2"), set: "set-service", want: "loadbalancer 203.0.113.1+203.0.113.2:8080"},
			{what: "another", do: status("203.0.113.9"), set: "set-service", want: "loadbalancer 203.0.113.9:8080"},
			{what: "none", do: status(), set: "set-service", want: ""},
		},
		"set-nodeport": {
			{what: "two nodes", set: "set-nodeport", want: "nodeport 198.51.100.1:30999, nodeport 198.51.100.2:30999", do: func(r *row) {
				r.onNodes("ab")
				r.changeService(r.ns, "web", func(svc *corev1.Service) { svc.Spec.Ports[0].NodePort = 30999 })
			}},
			{what: "one is cordoned", set: "set-nodeport", want: "nodeport 198.51.100.2:30999", do: func(r *row) {
				r.changeNode(r.nodeName("a"), func(n *corev1.Node) { n.Spec.Unschedulable = true })
			}},
		},
		"set-ingress": {
			{what: "an address", do: put("Ingress", "web", ingress("", "203.0.113.1")), set: "set-ingress", want: "ingress 203.0.113.1:443"},
			{what: "deleted", do: drop("Ingress", "web"), set: "set-ingress", want: ""},
		},
		"set-gateway": {
			{what: "programmed", do: put("Gateway", "web", gateway(true, "203.0.113.1")), set: "set-gateway", want: "gateway 203.0.113.1:80"},
			{what: "not programmed", do: put("Gateway", "web", gateway(false, "203.0.113.1")), set: "set-gateway", want: ""},
		},
	}
}

func nodePorts(last ...int) string {
	var out []string
	for _, n := range last {
		out = append(out, fmt.Sprintf("nodeport 198.51.100.%d:NODEPORT", n))
	}
	return strings.Join(out, ", ")
}

// TestGatewayAPIInstalledLater: its CRDs come and go while the source runs.
func TestGatewayAPIInstalledLater(t *testing.T) {
	c := startCluster(t)
	w := newWorld(t, c)
	w.namespace("shop")
	w.service("shop", "web", corev1.ServiceTypeClusterIP)
	v := follow(t, newSource(t, watcher(c)))
	v.synced(t)
	require.Empty(t, v.shown("shop", "web"))

	crds := gatewayCRDs(t)
	c.Apply(crds...)
	w.put("Gateway", "shop", "edge", gateway(true, "203.0.113.1"))
	w.put("HTTPRoute", "shop", "web", route("name: edge", "name: web", true))
	eventually(t, func() bool { return v.shown("shop", "web") == "gateway 203.0.113.1:80" }, "CRDs installed later")

	require.NoError(t, w.d.Resource(crdResource).Delete(t.Context(), "httproutes.gateway.networking.k8s.io", metav1.DeleteOptions{}))
	eventually(t, func() bool { return v.shown("shop", "web") == "" }, "what came from a CRD goes with it")

	eventually(t, func() bool {
		_, err := w.d.Resource(crdResource).Get(t.Context(), "httproutes.gateway.networking.k8s.io", metav1.GetOptions{})
		return err != nil
	}, "CRD gone")
	c.Apply(crds...)
	w.put("HTTPRoute", "shop", "web", route("name: edge", "name: web", true))
	eventually(t, func() bool { return v.shown("shop", "web") == "gateway 203.0.113.1:80" }, "CRD back")
	require.Empty(t, v.everRemoved())
}
