package export_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-dns/isthmus/discovery/export"
)

// TestHostileGatewayIsCut: what a CRD without limits lets through.
func TestHostileGatewayIsCut(t *testing.T) {
	gw := edge(t, "{name: a, port: 80, protocol: HTTP"+all)
	for i := range 10_000 {
		gw.Spec.Listeners = append(gw.Spec.Listeners, export.Listener{Name: fmt.Sprint("l", i), Port: int32(i + 1), Protocol: "HTTP", Hostname: strings.Repeat("a", 10_000)})
		gw.Status.Listeners = append(gw.Status.Listeners, export.ListenerStatus{Name: fmt.Sprint("l", i)})
		gw.Status.Addresses = append(gw.Status.Addresses, export.GatewayAddress{Value: "203.0.113.1"})
		gw.Status.Conditions = append(gw.Status.Conditions, export.Condition{Type: "Other"})
	}
	gw.Bound()
	require.Len(t, gw.Spec.Listeners, 64)
	require.Len(t, gw.Status.Listeners, 64)
	require.LessOrEqual(t, len(gw.Status.Addresses), 64)
	require.LessOrEqual(t, len(gw.Status.Conditions), 64)
	got := export.Build(export.Input{
		Service: service(), Routes: []*export.Route{to(t, "HTTPRoute", "", "{name: user, port: 80}", "")},
		Gateway: func(export.Object) *export.Gateway { return gw },
	})
	require.Len(t, got.Service.Gateways, 1, "what it says first counts: %v", got.Problems)
}

func TestHostileRouteIsCut(t *testing.T) {
	r := to(t, "HTTPRoute", "", "{name: user, port: 80}", "")
	for i := range 5_000 {
		r.Spec.Rules = append(r.Spec.Rules, export.RouteRule{BackendRefs: make([]export.BackendRef, 100)})
		r.Spec.ParentRefs = append(r.Spec.ParentRefs, export.ParentRef{Name: fmt.Sprint("gw", i)})
		r.Spec.Hostnames = append(r.Spec.Hostnames, fmt.Sprintf("h%d.example.com", i))
		r.Status.Parents = append(r.Status.Parents, export.RouteParentStatus{Conditions: make([]export.Condition, 100)})
	}
	r.Bound()
	require.LessOrEqual(t, len(r.Backends()), 256)
	require.LessOrEqual(t, len(r.Parents()), 32)
	require.LessOrEqual(t, len(r.Spec.Hostnames), 16)
	require.LessOrEqual(t, len(r.Status.Parents), 32)
	require.Contains(t, r.Backends(), export.Object{Namespace: "production", Name: "user"})
}

func TestHostileIngressIsCut(t *testing.T) {
	ing := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "production", Name: "web"}}
	for i := range 20_000 {
		ing.Spec.Rules = append(ing.Spec.Rules, networkingv1.IngressRule{Host: fmt.Sprintf("h%d.example.com", i), IngressRuleValue: networkingv1.IngressRuleValue{
			HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{Backend: networkingv1.IngressBackend{
				Service: &networkingv1.IngressServiceBackend{Name: fmt.Sprint("s", i), Port: networkingv1.ServiceBackendPort{Number: 80}},
			}}}},
		}})
		ing.Spec.TLS = append(ing.Spec.TLS, networkingv1.IngressTLS{Hosts: []string{fmt.Sprintf("h%d.example.com", i), "x"}})
		ing.Status.LoadBalancer.Ingress = append(ing.Status.LoadBalancer.Ingress, networkingv1.IngressLoadBalancerIngress{
			IP: "203.0.113.1", Ports: make([]networkingv1.IngressPortStatus, 10),
		})
	}
	export.BoundIngress(ing)
	require.Len(t, export.IngressBackends(ing), 4096)
	require.Len(t, ing.Status.LoadBalancer.Ingress, 64)
	hosts := 0
	for _, tls := range ing.Spec.TLS {
		hosts += len(tls.Hosts)
	}
	require.LessOrEqual(t, hosts, 4096)
}

// TestManyFronts: whoever has a route, or an Ingress, for each customer is
// reached by those that are looked at, and is told.
func TestManyFronts(t *testing.T) {
	var routes []*export.Route
	var ingresses []*networkingv1.Ingress
	for i := range 1000 {
		r := to(t, "HTTPRoute", "", "{name: user, port: 80}", fmt.Sprintf("c%d.example.com", i))
		r.Name = fmt.Sprintf("r%04d", i)
		routes = append(routes, r)
		ing := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "production", Name: fmt.Sprintf("i%04d", i)}}
		ing.Spec.DefaultBackend = &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "user", Port: networkingv1.ServiceBackendPort{Number: 80}}}
		ing.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: "203.0.113.9"}}
		ingresses = append(ingresses, ing)
	}
	gw := edge(t, "{name: a, port: 80, protocol: HTTP"+all)
	got := export.Build(export.Input{
		Service: service(), Routes: routes, Ingresses: ingresses, Gateway: func(export.Object) *export.Gateway { return gw },
	})
	require.Len(t, got.Service.Gateways, 2)
	require.Equal(t, []string{"only the first 256 Ingresses that lead to it are looked at", "only the first 256 routes that lead to it are looked at"}, got.Problems)
}

// TestOthersRoutesCostNothing: anybody can name a Service of another namespace;
// its owner hears of one of them.
func TestOthersRoutesCostNothing(t *testing.T) {
	var routes []*export.Route
	for i := range 100 {
		r := to(t, "HTTPRoute", "", "{name: user, namespace: production, port: 80}", "")
		r.Namespace, r.Name = "attacker", fmt.Sprint("r", 199-i)
		routes = append(routes, r)
	}
	gw := edge(t, "{name: a, port: 80, protocol: HTTP"+all)
	in := export.Input{Service: service(), Routes: routes, Gateway: func(export.Object) *export.Gateway { return gw }}
	got := export.Build(in)
	require.Empty(t, got.Service.Gateways)
	require.Equal(t, []string{"HTTPRoute attacker/r100 is in another namespace, and no ReferenceGrant in production lets it lead here"}, got.Problems)
	require.False(t, got.Awaits, "nor do they hold what the owner takes away")
}
