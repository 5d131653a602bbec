package export_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-dns/isthmus/discovery/export"
)

// TestAwaits tells an address that a status has lost from one that somebody has
// taken away.
func TestAwaits(t *testing.T) {
	listener := "{name: a, port: 80, protocol: HTTP" + all
	route := to(t, "HTTPRoute", "", "{name: user, port: 80}", "")
	refused := to(t, "HTTPRoute", "", "{name: user, port: 80}", "")
	refused.Status.Parents[0].Conditions[0].Status = "False"
	idle := edge(t, listener)
	idle.Status.Conditions[0].Status = "False"
	bare := edge(t, listener)
	bare.Status.Addresses = nil
	going := edge(t, listener)
	going.DeletionTimestamp = new(metav1.Now())
	ingress := func(change func(*networkingv1.Ingress)) []*networkingv1.Ingress {
		ing := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "production", Name: "web"}}
		ing.Spec.DefaultBackend = &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "user", Port: networkingv1.ServiceBackendPort{Number: 80}}}
		ing.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: "203.0.113.1"}}
		change(ing)
		return []*networkingv1.Ingress{ing}
	}
	attached := func(gw *export.Gateway, r *export.Route) export.Input {
		return export.Input{Service: service(), Routes: []*export.Route{r}, Gateway: func(export.Object) *export.Gateway { return gw }}
	}
	for name, test := range map[string]struct {
		in   export.Input
		want bool
	}{
		"nothing is there":                  {export.Input{Service: service()}, false},
		"a load balancer with an address":   {export.Input{Service: service(loadBalancer(point("203.0.113.1", "")))}, false},
		"a load balancer without":           {export.Input{Service: service(loadBalancer())}, true},
		"and its node ports serve":          {export.Input{Service: service(nodePort, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeLoadBalancer }), Slices: slicesOf(slice(pod{ip: "10.1.0.1", node: "node-1"})), Nodes: nodesByName(node("node-1", "198.51.100.1"))}, true},
		"a node port on a ready node":       {export.Input{Service: service(nodePort), Slices: slicesOf(slice(pod{ip: "10.1.0.1", node: "node-1"})), Nodes: nodesByName(node("node-1", "198.51.100.1"))}, false},
		"a node port without":               {export.Input{Service: service(nodePort)}, true},
		"an Ingress with an address":        {export.Input{Service: service(), Ingresses: ingress(func(*networkingv1.Ingress) {})}, false},
		"an Ingress without":                {export.Input{Service: service(), Ingresses: ingress(func(i *networkingv1.Ingress) { i.Status = networkingv1.IngressStatus{} })}, true},
		"an Ingress that is deleted":        {export.Input{Service: service(), Ingresses: ingress(func(i *networkingv1.Ingress) { i.DeletionTimestamp = new(metav1.Now()) })}, false},
		"an Ingress that leads elsewhere":   {export.Input{Service: service(), Ingresses: ingress(func(i *networkingv1.Ingress) { i.Spec.DefaultBackend.Service.Name = "other" })}, false},
		"an Ingress whose class is missing": {export.Input{Service: service(), IngressClass: func(string) bool { return false }, Ingresses: ingress(func(i *networkingv1.Ingress) { i.Spec.IngressClassName = new("c") })}, true},
		"a route to a Gateway":              {attached(edge(t, listener), route), false},
		"a route that is not accepted":      {attached(edge(t, listener), refused), true},
		"a Gateway that is not programmed":  {attached(idle, route), true},
		"a Gateway without an address":      {attached(bare, route), true},
		"a Gateway that is deleted":         {attached(going, route), false},
		"a Gateway that is gone":            {attached(nil, route), false},
	} {
		t.Run(name, func(t *testing.T) {
			got := export.Build(test.in)
			require.NotNil(t, got.Service, got.Reason)
			require.Equal(t, test.want, got.Awaits)
		})
	}
}
