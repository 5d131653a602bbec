package export_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"pgregory.net/rapid"

	"github.com/isthmus-dns/isthmus/discovery/export"
)

// Texts and numbers as a hostile or careless writer has them.
var (
	someHost = rapid.SampledFrom([]string{"", "*", "*.", ".", "a..b", "user.production.global", "*.global", "WWW.Example.com", "10.0.0.1", strings.Repeat("a.", 200), "ü"})
	somePort = rapid.SampledFrom([]int32{-1, 0, 53, 80, 443, 65535, 65536, 1 << 30})
	someAddr = rapid.SampledFrom([]string{"", "203.0.113.1", "203.0.113.2", "2001:db8::1", "127.0.0.1", "10.1.0.1", "fe80::1%eth0", "lb.example.net", "localhost", "%"})
	someName = rapid.SampledFrom([]string{"", "user", "other"})
)

func someGateway(t *rapid.T) *export.Gateway {
	gw := &export.Gateway{}
	gw.Namespace, gw.Name = "production", "edge"
	for i := range rapid.IntRange(0, 4).Draw(t, "listeners") {
		gw.Spec.Listeners = append(gw.Spec.Listeners, export.Listener{
			Name: fmt.Sprint("l", i), Hostname: someHost.Draw(t, "hostname"), Port: somePort.Draw(t, "port"),
			Protocol: rapid.SampledFrom([]string{"", "HTTP", "HTTPS", "TLS", "TCP", "UDP", "example.com/x"}).Draw(t, "protocol"),
		})
	}
	for range rapid.IntRange(0, 70).Draw(t, "addresses") {
		gw.Status.Addresses = append(gw.Status.Addresses, export.GatewayAddress{
			Type: rapid.SampledFrom([]string{"", "IPAddress", "Hostname", "NamedAddress"}).Draw(t, "type"), Value: someAddr.Draw(t, "address"),
		})
	}
	gw.Status.Conditions = []export.Condition{{Type: "Programmed", Status: rapid.SampledFrom([]string{"True", "False", ""}).Draw(t, "programmed")}}
	return gw
}

func someRoute(t *rapid.T) *export.Route {
	r := &export.Route{Kind: rapid.SampledFrom([]string{"HTTPRoute", "TCPRoute", "UDPRoute", "OtherRoute", ""}).Draw(t, "kind")}
	r.Namespace, r.Name = rapid.SampledFrom([]string{"production", "elsewhere"}).Draw(t, "namespace"), someName.Draw(t, "name")
	r.Spec.Hostnames = rapid.SliceOfN(someHost, 0, 3).Draw(t, "hostnames")
	var refs []export.BackendRef
	for range rapid.IntRange(0, 3).Draw(t, "backends") {
		port := somePort.Draw(t, "port")
		refs = append(refs, export.BackendRef{Name: someName.Draw(t, "backend"), Port: &port, Namespace: new("production")})
	}
	r.Spec.Rules = []export.RouteRule{{BackendRefs: refs}}
	parent := export.ParentRef{Name: "edge", Namespace: new("production")}
	r.Spec.ParentRefs = []export.ParentRef{parent, {}}
	r.Status.Parents = []export.RouteParentStatus{{ParentRef: parent, Conditions: []export.Condition{{Type: "Accepted", Status: "True"}}}}
	return r
}

func someIngress(t *rapid.T) *networkingv1.Ingress {
	ing := &networkingv1.Ingress{}
	ing.Namespace, ing.Name = "production", someName.Draw(t, "name")
	ing.Spec.TLS = []networkingv1.IngressTLS{{Hosts: rapid.SliceOfN(someHost, 0, 2).Draw(t, "tls")}}
	for range rapid.IntRange(0, 3).Draw(t, "rules") {
		ing.Spec.Rules = append(ing.Spec.Rules, networkingv1.IngressRule{Host: someHost.Draw(t, "host"), IngressRuleValue: networkingv1.IngressRuleValue{
			HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{Backend: networkingv1.IngressBackend{
				Service: &networkingv1.IngressServiceBackend{Name: someName.Draw(t, "backend"), Port: networkingv1.ServiceBackendPort{Number: somePort.Draw(t, "port")}},
			}}}},
		}})
	}
	for range rapid.IntRange(0, 70).Draw(t, "points") {
		ing.Status.LoadBalancer.Ingress = append(ing.Status.LoadBalancer.Ingress, networkingv1.IngressLoadBalancerIngress{
			IP: someAddr.Draw(t, "ip"), Hostname: someHost.Draw(t, "host"),
			Ports: []networkingv1.IngressPortStatus{{Port: somePort.Draw(t, "port")}}[:rapid.IntRange(0, 1).Draw(t, "ports")],
		})
	}
	return ing
}

// TestFrontsKeepTheBounds: whatever the objects say, the record is valid, and
// the same whatever their order.
func TestFrontsKeepTheBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gw := someGateway(t)
		in := export.Input{
			Service: service(func(svc *corev1.Service) {
				svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53})
			}),
			Routes:    rapid.SliceOfN(rapid.Custom(someRoute), 0, 4).Draw(t, "routes"),
			Ingresses: rapid.SliceOfNDistinct(rapid.Custom(someIngress), 0, 3, func(i *networkingv1.Ingress) string { return i.Name }).Draw(t, "ingresses"),
			Gateway:   func(export.Object) *export.Gateway { return gw },
			Opts:      export.Options{PodCIDRs: prefixes("10.1.0.0/16")},
		}
		got := export.Build(in)
		require.NotNil(t, got.Service, got.Reason)
		require.NoError(t, got.Service.Validate())
		for _, g := range got.Service.Gateways {
			for _, a := range g.Addresses {
				require.False(t, a.IsLoopback() || a.IsLinkLocalUnicast() || in.Opts.PodCIDRs[0].Contains(a), "%v", a)
			}
		}
		for _, p := range got.Problems {
			require.Less(t, len(p), 600)
		}
		slices.Reverse(in.Routes)
		slices.Reverse(in.Ingresses)
		again := export.Build(in).Service
		require.Equal(t, got.Service.Gateways, again.Gateways)
		require.Equal(t, got.Service.Ports, again.Ports)
	})
}
