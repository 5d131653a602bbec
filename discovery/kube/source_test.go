package kube_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// TestSource follows one cluster as the watcher's account, with namespaces of
// their own for what is tested.
func TestSource(t *testing.T) {
	c := startCluster(t)
	c.Apply(crd)
	w := newWorld(t, c)
	w.namespace("before")
	w.service("before", "declared", corev1.ServiceTypeClusterIP)
	w.slice("before", "declared-1", "declared", addresses(2)...)
	w.service("before", "hidden", corev1.ServiceTypeClusterIP, undeclared)
	w.service("before", "by-object", corev1.ServiceTypeClusterIP, undeclared)
	w.export("v1beta1", "before", "by-object")

	v := follow(t, newSource(t, watcher(c)))
	v.synced(t)

	t.Run("first update holds all that was there", func(t *testing.T) {
		require.Equal(t, []discovery.Key{"by-object.before", "declared.before"}, v.keys())
		require.Equal(t, uint32(2), v.get("before", "declared").Ready())
		system, err := c.Client().CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, string(system.UID), v.record().UID)
	})
	for name, test := range map[string]func(*testing.T, *world, *view, string){
		"annotation":    testAnnotation,
		"serviceexport": testServiceExport,
		"slices":        testSlices,
		"checks":        testChecks,
		"loadbalancer":  testLoadBalancer,
		"latency":       testLatency,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c)
			w.namespace(name)
			test(t, w, v, name)
		})
	}
	t.Run("nodeport", func(t *testing.T) {
		w := newWorld(t, c)
		w.namespace("nodeport")
		testNodePort(t, w, v)
	})
}

func testAnnotation(t *testing.T, w *world, v *view, ns string) {
	w.service(ns, "user", corev1.ServiceTypeClusterIP, undeclared)
	w.slice(ns, "user-1", "user", addresses(3)...)
	w.annotate(ns, "user", map[string]string{export.AnnotationExport: "true", export.AnnotationWeight: "7"})
	eventually(t, func() bool { return v.counts(ns, "user") == "3/3" }, "exported")
	require.Equal(t, uint32(7), v.get(ns, "user").Weight)

	w.slice(ns, "user-1", "user")
	eventually(t, func() bool { return v.counts(ns, "user") == "0/0" }, "scaled to zero: exported, with nothing ready")
	w.slice(ns, "user-1", "user", "10.1.0.1", "-10.1.0.2")
	eventually(t, func() bool { return v.counts(ns, "user") == "1/2" }, "one of two ready")

	w.annotate(ns, "user", nil)
	eventually(t, func() bool { return v.get(ns, "user") == nil }, "not exported any more")
	w.annotate(ns, "user", map[string]string{export.AnnotationExport: "true"})
	eventually(t, func() bool { return v.get(ns, "user") != nil }, "exported again")
	w.deleteService(ns, "user")
	eventually(t, func() bool { return v.get(ns, "user") == nil }, "deleted")
}

func testServiceExport(t *testing.T, w *world, v *view, ns string) {
	for _, version := range []string{"v1beta1", "v1alpha1"} {
		w.export(version, ns, "pay") // before its Service: no error, no record
		w.service(ns, "pay", corev1.ServiceTypeClusterIP, undeclared)
		eventually(t, func() bool { return v.get(ns, "pay") != nil }, "exported by "+version)
		object, err := w.exports(version, ns).Get(t.Context(), "pay", metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, object.GetCreationTimestamp().Unix(), v.get(ns, "pay").ExportedAt)
		w.unexport(version, ns, "pay")
		eventually(t, func() bool { return v.get(ns, "pay") == nil }, "unexported by "+version)
		w.deleteService(ns, "pay")
	}

	w.service(ns, "held", corev1.ServiceTypeClusterIP, undeclared)
	w.export("v1beta1", ns, "held")
	eventually(t, func() bool { return v.get(ns, "held") != nil }, "exported")
	object, err := w.exports("v1beta1", ns).Get(t.Context(), "held", metav1.GetOptions{})
	require.NoError(t, err)
	object.SetFinalizers([]string{"example.com/other-controller"})
	_, err = w.exports("v1beta1", ns).Update(t.Context(), object, metav1.UpdateOptions{})
	require.NoError(t, err)
	w.unexport("v1beta1", ns, "held")
	eventually(t, func() bool { return v.get(ns, "held") == nil }, "unexported although another controller holds the object")
}

func testSlices(t *testing.T, w *world, v *view, ns string) {
	w.service(ns, "a", corev1.ServiceTypeClusterIP)
	w.service(ns, "b", corev1.ServiceTypeClusterIP)
	w.slice(ns, "one", "a", "10.2.0.1")
	w.slice(ns, "two", "a", "10.2.0.2", "10.2.0.3")
	counts := func(a, b string) func() bool {
		return func() bool { return v.counts(ns, "a") == a && v.counts(ns, "b") == b }
	}
	eventually(t, counts("3/3", "0/0"), "both slices count")
	w.slice(ns, "two", "b", "10.2.0.2", "10.2.0.3")
	eventually(t, counts("1/1", "2/2"), "a slice that changes its Service leaves the old one")
	require.NoError(t, w.c.DiscoveryV1().EndpointSlices(ns).Delete(t.Context(), "one", metav1.DeleteOptions{}))
	eventually(t, counts("0/0", "2/2"), "a deleted slice counts no more")
}

func testLoadBalancer(t *testing.T, w *world, v *view, ns string) {
	svc := w.service(ns, "edge", corev1.ServiceTypeLoadBalancer)
	eventually(t, func() bool { return v.get(ns, "edge") != nil }, "exported without an address")
	require.Empty(t, v.get(ns, "edge").Gateways)
	w.loadBalancer(svc, corev1.LoadBalancerIngress{IP: "203.0.113.9"})
	eventually(t, func() bool { return len(v.gateways(ns, "edge")) == 1 }, "address given")
	g := v.gateways(ns, "edge")[0]
	require.Equal(t, discovery.GatewayLoadBalancer, g.Kind)
	require.Equal(t, []netip.Addr{netip.MustParseAddr("203.0.113.9")}, g.Addresses)
	w.loadBalancer(svc, corev1.LoadBalancerIngress{Hostname: "lb.example.net"})
	eventually(t, func() bool {
		g := v.gateways(ns, "edge")
		return len(g) == 1 && g[0].Hostname == "lb.example.net"
	}, "name instead of an address")

	// A cloud controller holds the Service until it has taken the load balancer
	// away, which may be minutes.
	svc, err := w.c.CoreV1().Services(ns).Get(t.Context(), "edge", metav1.GetOptions{})
	require.NoError(t, err)
	svc.Finalizers = []string{"service.kubernetes.io/load-balancer-cleanup"}
	_, err = w.c.CoreV1().Services(ns).Update(t.Context(), svc, metav1.UpdateOptions{})
	require.NoError(t, err)
	w.deleteService(ns, "edge")
	eventually(t, func() bool { return v.get(ns, "edge") == nil }, "gone before its load balancer is")
}

func testNodePort(t *testing.T, w *world, v *view) {
	const ns = "nodeport"
	w.node("node-a", "us-west1-a", "198.51.100.1")
	w.node("node-b", "us-west1-a", "198.51.100.2")
	eventually(t, func() bool { return v.record().Locality == discovery.Locality{Region: "us-west1", Zone: "us-west1-a"} }, "locality from nodes")
	svc := w.service(ns, "apollo", corev1.ServiceTypeNodePort)
	w.slice(ns, "apollo-1", "apollo", "10.3.0.1@node-a", "10.3.0.2@node-b")
	gateways := func(want ...string) func() bool {
		return func() bool {
			var got []string
			for _, g := range v.gateways(ns, "apollo") {
				for _, a := range g.Addresses {
					got = append(got, a.String())
				}
			}
			return slices.Equal(got, want)
		}
	}
	eventually(t, gateways("198.51.100.1", "198.51.100.2"), "nodes with endpoints")
	require.Equal(t, uint16(svc.Spec.Ports[0].NodePort), v.get(ns, "apollo").Ports[0].Gateway)

	w.changeNode("node-a", func(n *corev1.Node) { n.Spec.Unschedulable = true })
	eventually(t, gateways("198.51.100.2"), "a cordoned node is no gateway")
	w.changeNode("node-a", func(n *corev1.Node) { n.Spec.Unschedulable = false })
	eventually(t, gateways("198.51.100.1", "198.51.100.2"), "an uncordoned node is one again")
	w.changeNode("node-b", func(n *corev1.Node) { n.Labels[corev1.LabelTopologyZone] = "us-west1-b" })
	eventually(t, func() bool { return v.record().Locality == discovery.Locality{Region: "us-west1"} }, "a cluster in two zones is in none")
	require.NoError(t, w.c.CoreV1().Nodes().Delete(t.Context(), "node-a", metav1.DeleteOptions{}))
	eventually(t, gateways("198.51.100.2"), "a deleted node is no gateway")
}

// testLatency bounds the way from the API server's answer to a write until the
// update. It takes 2 to 4 ms on a free machine; the bound is for a shared one.
func testLatency(t *testing.T, w *world, v *view, ns string) {
	w.service(ns, "fast", corev1.ServiceTypeClusterIP)
	var took []time.Duration
	for n := range 21 {
		w.slice(ns, "fast-1", "fast", addresses(n+1)...)
		began := time.Now()
		want := fmt.Sprintf("%d/%[1]d", n+1)
		require.Eventually(t, func() bool { return v.counts(ns, "fast") == want }, patience, time.Millisecond)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("write to update: median %v, worst %v", took[len(took)/2], took[len(took)-1])
	require.Less(t, took[len(took)/2], 100*time.Millisecond)
}
