package export_test

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// created is when the Service of these tests was made.
var created = time.Unix(1_700_000_000, 0)

// service is production/user, ClusterIP 10.96.0.7, TCP 80, annotated for export.
func service(edit ...func(*corev1.Service)) *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "production", Name: "user",
			CreationTimestamp: metav1.NewTime(created),
			Annotations:       map[string]string{export.AnnotationExport: "true"},
		},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.96.0.7", ClusterIPs: []string{"10.96.0.7"},
			Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}},
		},
	}
	for _, f := range edit {
		f(svc)
	}
	return svc
}

func annotate(pairs ...string) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		for i := 0; i < len(pairs); i += 2 {
			svc.Annotations[pairs[i]] = pairs[i+1]
		}
	}
}

func headless(svc *corev1.Service) {
	svc.Spec.ClusterIP, svc.Spec.ClusterIPs = corev1.ClusterIPNone, []string{corev1.ClusterIPNone}
}

func nodePort(svc *corev1.Service) {
	svc.Spec.Type = corev1.ServiceTypeNodePort
	for i := range svc.Spec.Ports {
		svc.Spec.Ports[i].NodePort = int32(30080 + i)
	}
}

func loadBalancer(points ...corev1.LoadBalancerIngress) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		svc.Spec.Type = corev1.ServiceTypeLoadBalancer
		svc.Status.LoadBalancer.Ingress = points
	}
}

// pod is an endpoint in the form of its address, node and zone.
type pod struct {
	ip, node, zone, host        string
	ready, serving, terminating *bool
}

func slice(pods ...pod) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "production", Name: "user-1", Labels: map[string]string{discoveryv1.LabelServiceName: "user"}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, p := range pods {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{p.ip},
			Hostname:   optional(p.host),
			NodeName:   optional(p.node),
			Zone:       optional(p.zone),
			Conditions: discoveryv1.EndpointConditions{Ready: p.ready, Serving: p.serving, Terminating: p.terminating},
		})
	}
	return s
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// node is a ready node with an internal address, unless edited.
func node(name, internal string, edit ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: "zone-a"}},
		Status: corev1.NodeStatus{
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeHostName, Address: name},
				{Type: corev1.NodeInternalIP, Address: internal},
			},
		},
	}
	for _, f := range edit {
		f(n)
	}
	return n
}

func external(ips ...string) func(*corev1.Node) {
	return func(n *corev1.Node) {
		for _, ip := range ips {
			n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: ip})
		}
	}
}

func cordoned(n *corev1.Node) { n.Spec.Unschedulable = true }

func notReady(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionUnknown }

func nodesByName(nodes ...*corev1.Node) func(string) *corev1.Node {
	byName := map[string]*corev1.Node{}
	for _, n := range nodes {
		byName[n.Name] = n
	}
	return func(name string) *corev1.Node { return byName[name] }
}

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

// static is a gateway of the annotation.
func static(ip string, port uint16) discovery.Gateway {
	return discovery.Gateway{Addresses: addrs(ip), Port: port, Kind: discovery.GatewayStatic}
}
