package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/isthmus-dns/isthmus/discovery/export"
)

// shop is the namespace of all services here.
const shop = "shop"

// world writes one cluster's objects as its users and controllers would.
type world struct {
	t testing.TB
	c kubernetes.Interface
	d dynamic.Interface
}

// world writes to the site for a test.
func (s *site) world(t testing.TB) world {
	t.Helper()
	d, err := dynamic.NewForConfig(s.kube.Admin())
	require.NoError(t, err)
	return world{t: t, c: s.kube.Client(), d: d}
}

func (w world) namespace(name string) {
	w.t.Helper()
	_, err := w.c.CoreV1().Namespaces().Create(w.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	require.NoError(w.t, err)
}

// service makes a Service with the port "http" that is not exported, and
// returns its ClusterIP.
func (w world) service(name string, kind corev1.ServiceType) *corev1.Service {
	w.t.Helper()
	svc, err := w.c.CoreV1().Services(shop).Create(w.t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: name},
		Spec:       corev1.ServiceSpec{Type: kind, Ports: []corev1.ServicePort{{Name: "http", Port: 8080}}},
	}, metav1.CreateOptions{})
	require.NoError(w.t, err)
	return svc
}

func (w world) deleteService(name string) {
	w.t.Helper()
	require.NoError(w.t, w.c.CoreV1().Services(shop).Delete(w.t.Context(), name, metav1.DeleteOptions{}))
}

// annotate sets or, with an empty value, removes the export annotation.
func (w world) annotate(name, value string) {
	w.t.Helper()
	svc, err := w.c.CoreV1().Services(shop).Get(w.t.Context(), name, metav1.GetOptions{})
	require.NoError(w.t, err)
	svc.Annotations = map[string]string{export.AnnotationExport: value}
	if value == "" {
		svc.Annotations = nil
	}
	_, err = w.c.CoreV1().Services(shop).Update(w.t.Context(), svc, metav1.UpdateOptions{})
	require.NoError(w.t, err)
}

// balance writes a Service's load-balancer status.
func (w world) balance(name string, ips ...string) {
	w.t.Helper()
	svc, err := w.c.CoreV1().Services(shop).Get(w.t.Context(), name, metav1.GetOptions{})
	require.NoError(w.t, err)
	svc.Status.LoadBalancer.Ingress = nil
	for _, ip := range ips {
		svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
	}
	_, err = w.c.CoreV1().Services(shop).UpdateStatus(w.t.Context(), svc, metav1.UpdateOptions{})
	require.NoError(w.t, err)
}

// endpoints writes a Service's EndpointSlice. An endpoint is "address",
// "address@node" or, if it is not ready, "-address…".
func (w world) endpoints(service string, endpoints ...string) {
	w.t.Helper()
	port, portName := int32(8080), "http"
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: shop, Name: service, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port}},
		Endpoints:   []discoveryv1.Endpoint{},
	}
	for _, text := range endpoints {
		text, down := strings.CutPrefix(text, "-")
		ready := !down
		e := discoveryv1.Endpoint{Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
		address, node, found := strings.Cut(text, "@")
		if found {
			e.NodeName = &node
		}
		e.Addresses = []string{address}
		slice.Endpoints = append(slice.Endpoints, e)
	}
	slices := w.c.DiscoveryV1().EndpointSlices(shop)
	old, err := slices.Get(w.t.Context(), service, metav1.GetOptions{})
	if err == nil {
		slice.ResourceVersion = old.ResourceVersion
		_, err = slices.Update(w.t.Context(), slice, metav1.UpdateOptions{})
	} else {
		_, err = slices.Create(w.t.Context(), slice, metav1.CreateOptions{})
	}
	require.NoError(w.t, err)
}

// node writes a ready node.
func (w world) node(name, region, zone, address string) {
	w.t.Helper()
	node, err := w.c.CoreV1().Nodes().Create(w.t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{corev1.LabelTopologyRegion: region, corev1.LabelTopologyZone: zone},
	}}, metav1.CreateOptions{})
	require.NoError(w.t, err)
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	_, err = w.c.CoreV1().Nodes().UpdateStatus(w.t.Context(), node, metav1.UpdateOptions{})
	require.NoError(w.t, err)
}

func (w world) exports() dynamic.ResourceInterface {
	return w.d.Resource(schema.GroupVersionResource{Group: "multicluster.x-k8s.io", Version: "v1beta1", Resource: "serviceexports"}).Namespace(shop)
}

// declare writes a ServiceExport.
func (w world) declare(name string) {
	w.t.Helper()
	_, err := w.exports().Create(w.t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "multicluster.x-k8s.io/v1beta1", "kind": "ServiceExport", "metadata": map[string]any{"name": name},
	}}, metav1.CreateOptions{})
	require.NoError(w.t, err)
}

func (w world) undeclare(name string) {
	w.t.Helper()
	require.NoError(w.t, w.exports().Delete(w.t.Context(), name, metav1.DeleteOptions{}))
}
