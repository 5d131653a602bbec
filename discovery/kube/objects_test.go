package kube_test

import (
	"fmt"
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
	"github.com/isthmus-dns/isthmus/test/kubetest"
)

// world writes a cluster's objects as an administrator and its controllers
// would.
type world struct {
	t *testing.T
	c kubernetes.Interface
	d dynamic.Interface
}

func newWorld(t *testing.T, c *kubetest.Cluster) *world {
	t.Helper()
	d, err := dynamic.NewForConfig(c.Admin())
	require.NoError(t, err)
	return &world{t: t, c: c.Client(), d: d}
}

func (w *world) namespace(name string) {
	w.t.Helper()
	_, err := w.c.CoreV1().Namespaces().Create(w.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	require.NoError(w.t, err)
}

// service makes a Service of the given type with one port, exported by
// annotation unless change says otherwise.
func (w *world) service(namespace, name string, kind corev1.ServiceType, change ...func(*corev1.Service)) *corev1.Service {
	w.t.Helper()
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{export.AnnotationExport: "true"}},
		Spec:       corev1.ServiceSpec{Type: kind, Ports: []corev1.ServicePort{{Name: "http", Port: 8080}}},
	}
	for _, f := range change {
		f(svc)
	}
	svc, err := w.c.CoreV1().Services(namespace).Create(w.t.Context(), svc, metav1.CreateOptions{})
	require.NoError(w.t, err)
	return svc
}

func undeclared(svc *corev1.Service) { svc.Annotations = nil }

func (w *world) annotate(namespace, name string, annotations map[string]string) {
	w.t.Helper()
	svc, err := w.c.CoreV1().Services(namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	require.NoError(w.t, err)
	svc.Annotations = annotations
	_, err = w.c.CoreV1().Services(namespace).Update(w.t.Context(), svc, metav1.UpdateOptions{})
	require.NoError(w.t, err)
}

func (w *world) deleteService(namespace, name string) {
	w.t.Helper()
	require.NoError(w.t, w.c.CoreV1().Services(namespace).Delete(w.t.Context(), name, metav1.DeleteOptions{}))
}

// slice writes the EndpointSlice `name` of a Service. An endpoint is
// "address", "address@node" or, when it is not ready, "-address…".
func (w *world) slice(namespace, name, service string, endpoints ...string) {
	w.t.Helper()
	ready, notReady, port, portName := true, false, int32(8080), "http"
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port}},
		Endpoints:   []discoveryv1.Endpoint{},
	}
	for _, text := range endpoints {
		e := discoveryv1.Endpoint{Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
		text, down := strings.CutPrefix(text, "-")
		if down {
			e.Conditions.Ready = &notReady
		}
		addr, node, found := strings.Cut(text, "@")
		if found {
			e.NodeName = &node
		}
		e.Addresses = []string{addr}
		slice.Endpoints = append(slice.Endpoints, e)
	}
	slices := w.c.DiscoveryV1().EndpointSlices(namespace)
	old, err := slices.Get(w.t.Context(), name, metav1.GetOptions{})
	if err == nil {
		slice.ResourceVersion = old.ResourceVersion
		_, err = slices.Update(w.t.Context(), slice, metav1.UpdateOptions{})
	} else {
		_, err = slices.Create(w.t.Context(), slice, metav1.CreateOptions{})
	}
	require.NoError(w.t, err)
}

// node writes a ready node.
func (w *world) node(name, zone, address string) {
	w.t.Helper()
	node, err := w.c.CoreV1().Nodes().Create(w.t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{corev1.LabelTopologyRegion: "us-west1", corev1.LabelTopologyZone: zone},
	}}, metav1.CreateOptions{})
	require.NoError(w.t, err)
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	_, err = w.c.CoreV1().Nodes().UpdateStatus(w.t.Context(), node, metav1.UpdateOptions{})
	require.NoError(w.t, err)
}

func (w *world) changeNode(name string, change func(*corev1.Node)) {
	w.t.Helper()
	node, err := w.c.CoreV1().Nodes().Get(w.t.Context(), name, metav1.GetOptions{})
	require.NoError(w.t, err)
	change(node)
	_, err = w.c.CoreV1().Nodes().Update(w.t.Context(), node, metav1.UpdateOptions{})
	require.NoError(w.t, err)
}

// loadBalancer sets the Service's status as a cloud controller would.
func (w *world) loadBalancer(svc *corev1.Service, ingress ...corev1.LoadBalancerIngress) {
	w.t.Helper()
	svc, err := w.c.CoreV1().Services(svc.Namespace).Get(w.t.Context(), svc.Name, metav1.GetOptions{})
	require.NoError(w.t, err)
	svc.Status.LoadBalancer.Ingress = ingress
	_, err = w.c.CoreV1().Services(svc.Namespace).UpdateStatus(w.t.Context(), svc, metav1.UpdateOptions{})
	require.NoError(w.t, err)
}

func (w *world) exports(version, namespace string) dynamic.ResourceInterface {
	return w.d.Resource(schema.GroupVersionResource{Group: "multicluster.x-k8s.io", Version: version, Resource: "serviceexports"}).Namespace(namespace)
}

// export creates a ServiceExport; the CRD may not be served yet.
func (w *world) export(version, namespace, name string) {
	w.t.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "multicluster.x-k8s.io/" + version, "kind": "ServiceExport",
		"metadata": map[string]any{"name": name},
	}}
	var last error
	eventually(w.t, func() bool {
		_, last = w.exports(version, namespace).Create(w.t.Context(), object, metav1.CreateOptions{})
		return last == nil
	}, "ServiceExport can't be created")
}

func (w *world) unexport(version, namespace, name string) {
	w.t.Helper()
	require.NoError(w.t, w.exports(version, namespace).Delete(w.t.Context(), name, metav1.DeleteOptions{}))
}

// addresses makes n endpoint addresses.
func addresses(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("10.1.%d.%d", i/250, i%250+1))
	}
	return out
}
