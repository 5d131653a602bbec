package kube

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/cache"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// fullMeta is metadata with all that clusters put there.
func fullMeta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: "uid-1", ResourceVersion: "77", Generation: 3,
		CreationTimestamp: metav1.NewTime(time.Unix(1700000000, 0)),
		Labels:            map[string]string{"app": name, "team": "shop"},
		Annotations: map[string]string{
			"kubectl.kubernetes.io/last-applied-configuration": "{…}",
			export.AnnotationExport:                            "true",
			export.AnnotationWeight:                            "3",
			export.AnnotationAliases:                           "user.example.com",
		},
		Finalizers:      []string{"service.kubernetes.io/load-balancer-cleanup"},
		OwnerReferences: []metav1.OwnerReference{{Kind: "Chart", Name: "shop"}},
		ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kubectl", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{}}`)}},
	}
}

func fullService(kind corev1.ServiceType) *corev1.Service {
	policy, class, protocol := corev1.IPFamilyPolicySingleStack, "cloud", "h2c"
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{Kind: "Service", APIVersion: "v1"},
		ObjectMeta: fullMeta("shop", "user"),
		Spec: corev1.ServiceSpec{
			Type: kind, ClusterIP: "10.96.0.7", ClusterIPs: []string{"10.96.0.7"},
			Ports:           []corev1.ServicePort{{Name: "http", Port: 80, NodePort: 30080, AppProtocol: &protocol}},
			SessionAffinity: corev1.ServiceAffinityClientIP,
			Selector:        map[string]string{"app": "user"}, IPFamilyPolicy: &policy, LoadBalancerClass: &class,
			PublishNotReadyAddresses: true,
		},
		Status: corev1.ServiceStatus{
			LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "203.0.113.9"}}},
			Conditions:   []metav1.Condition{{Type: "Ready", Status: "True"}},
		},
	}
}

func fullSlice() *discoveryv1.EndpointSlice {
	yes, no, host, node, zone := true, false, "user-0", "node-a", "us-west1-a"
	meta := fullMeta("shop", "user-abc")
	meta.Labels[discoveryv1.LabelServiceName] = "user"
	port, portName := int32(80), "http"
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{{Name: &portName, Port: &port, AppProtocol: &portName}},
	}
	for i, c := range []discoveryv1.EndpointConditions{{Ready: &yes}, {Ready: &no}, {}, {Ready: &no, Serving: &yes, Terminating: &yes}} {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.1.0.%d", i+1), "10.9.9.9"}, Conditions: c, Hostname: &host, NodeName: &node, Zone: &zone,
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: "user-0", UID: "pod-uid"},
			Hints:     &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: zone}}},
		})
	}
	return slice
}

func fullNode() *corev1.Node {
	meta := fullMeta("", "node-a")
	meta.Labels[corev1.LabelTopologyRegion], meta.Labels[corev1.LabelTopologyZone] = "us-west1", "us-west1-a"
	return &corev1.Node{
		ObjectMeta: meta,
		Spec:       corev1.NodeSpec{PodCIDRs: []string{"10.1.0.0/24"}, ProviderID: "cloud://1", Taints: []corev1.Taint{{Key: "a"}}},
		Status: corev1.NodeStatus{
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "198.51.100.1"}},
			Conditions: []corev1.NodeCondition{
				{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse},
				{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()},
			},
			Images: []corev1.ContainerImage{{Names: []string{"a", "b"}, SizeBytes: 1 << 30}},
		},
	}
}

// TestTransformsKeepTheRecord: what the informers cache gives the same record
// as what the API server holds.
func TestTransformsKeepTheRecord(t *testing.T) {
	for _, kind := range []corev1.ServiceType{corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer} {
		for _, publish := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s publishNotReady=%v", kind, publish), func(t *testing.T) {
				build := func(svc *corev1.Service, slice *discoveryv1.EndpointSlice, node *corev1.Node) export.Result {
					svc.Spec.PublishNotReadyAddresses = publish
					return export.Build(export.Input{
						Service: svc, Slices: []*discoveryv1.EndpointSlice{slice},
						Nodes: func(string) *corev1.Node { return node },
						Opts:  export.Options{SharesNetwork: true},
					})
				}
				want := build(fullService(kind), fullSlice(), fullNode())
				require.NotNil(t, want.Service)
				require.NotEmpty(t, want.Service.Endpoints)
				got := build(trim(t, trimService, fullService(kind)), trim(t, trimSlice, fullSlice()), trim(t, trimNode, fullNode()))
				require.Equal(t, want, got)
			})
		}
	}
	t.Run("headless", func(t *testing.T) {
		headless := func() *corev1.Service {
			svc := fullService(corev1.ServiceTypeClusterIP)
			svc.Spec.ClusterIP, svc.Spec.ClusterIPs = corev1.ClusterIPNone, []string{corev1.ClusterIPNone}
			return svc
		}
		elsewhere := func() *discoveryv1.EndpointSlice {
			slice := fullSlice()
			slice.Ports[0].Port = new(int32(8080))
			return slice
		}
		want := export.Build(export.Input{Service: headless(), Slices: []*discoveryv1.EndpointSlice{elsewhere()}})
		require.EqualValues(t, 8080, want.Service.Ports[0].Port)
		require.Equal(t, want, export.Build(export.Input{Service: trim(t, trimService, headless()), Slices: []*discoveryv1.EndpointSlice{trim(t, trimSlice, elsewhere())}}))
	})
	t.Run("being deleted", func(t *testing.T) {
		svc := fullService(corev1.ServiceTypeLoadBalancer)
		svc.DeletionTimestamp = new(metav1.Now())
		got := export.Build(export.Input{Service: trim(t, trimService, svc)})
		require.Equal(t, export.ReasonBeingDeleted, got.Reason)
	})
	t.Run("locality", func(t *testing.T) {
		want := export.ClusterLocality([]*corev1.Node{fullNode()})
		require.Equal(t, discovery.Locality{Region: "us-west1", Zone: "us-west1-a"}, want)
		require.Equal(t, want, export.ClusterLocality([]*corev1.Node{trim(t, trimNode, fullNode())}))
	})
}

// TestTransformsDrop names what must not fill the watcher's memory.
func TestTransformsDrop(t *testing.T) {
	svc := trim(t, trimService, fullService(corev1.ServiceTypeNodePort))
	slice := trim(t, trimSlice, fullSlice())
	node := trim(t, trimNode, fullNode())
	for _, obj := range []metav1.Object{svc, slice, node} {
		require.Nil(t, obj.GetManagedFields())
		require.Nil(t, obj.GetOwnerReferences())
		require.Nil(t, obj.GetFinalizers())
		require.NotContains(t, obj.GetLabels(), "app")
		require.NotContains(t, obj.GetAnnotations(), "kubectl.kubernetes.io/last-applied-configuration")
		require.Equal(t, "77", obj.GetResourceVersion(), "the reflector reads it")
	}
	require.Len(t, svc.Annotations, 3)
	require.Nil(t, svc.Spec.Selector)
	require.Nil(t, svc.Status.Conditions)
	require.Nil(t, slice.Ports[0].AppProtocol)
	require.Nil(t, slice.Endpoints[0].TargetRef)
	require.Nil(t, slice.Endpoints[0].Hints)
	require.Len(t, slice.Endpoints[0].Addresses, 1)
	require.Nil(t, node.Status.Images)
	require.Nil(t, node.Spec.Taints)
	require.Equal(t, []string{"10.1.0.0/24"}, node.Spec.PodCIDRs)
	require.Equal(t, []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}, node.Status.Conditions)

	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "multicluster.x-k8s.io/v1beta1", "kind": "ServiceExport",
		"metadata": map[string]any{
			"name": "user", "namespace": "shop", "creationTimestamp": "2024-01-02T03:04:05Z", "resourceVersion": "9",
			"managedFields": []any{map[string]any{"manager": "kubectl"}}, "labels": map[string]any{"app": "user"},
		},
		"spec": map[string]any{"exportedLabels": map[string]any{"a": "b"}}, "status": map[string]any{},
	}}
	got, err := slim[serviceExport](nil)(u)
	require.NoError(t, err)
	text, err := json.Marshal(got)
	require.NoError(t, err)
	require.JSONEq(t, `{"metadata":{"name":"user","namespace":"shop","creationTimestamp":"2024-01-02T03:04:05Z","resourceVersion":"9"},
		"status":{"conditions":null}}`, string(text))
}

// TestTransformsPassOthers: an informer hands tombstones to its transform too.
func TestTransformsPassOthers(t *testing.T) {
	for _, f := range []cache.TransformFunc{trimService, trimSlice, trimNode, slim[serviceExport](nil)} {
		tombstone := cache.DeletedFinalStateUnknown{Key: "shop/user"}
		got, err := f(tombstone)
		require.NoError(t, err)
		require.Equal(t, tombstone, got)
	}
}

func TestSameNode(t *testing.T) {
	old := trim(t, trimNode, fullNode())
	heartbeat := fullNode()
	heartbeat.ResourceVersion = "78"
	heartbeat.Status.Conditions[1].LastHeartbeatTime = metav1.NewTime(time.Now().Add(time.Hour))
	heartbeat.Status.Images = nil
	require.True(t, sameNode(old, trim(t, trimNode, heartbeat)), "a heartbeat is no change")
	for name, change := range map[string]func(*corev1.Node){
		"cordoned":  func(n *corev1.Node) { n.Spec.Unschedulable = true },
		"not ready": func(n *corev1.Node) { n.Status.Conditions[1].Status = corev1.ConditionFalse },
		"deleted":   func(n *corev1.Node) { n.DeletionTimestamp = &metav1.Time{Time: time.Now()} },
		"address":   func(n *corev1.Node) { n.Status.Addresses[0].Address = "198.51.100.2" },
		"zone":      func(n *corev1.Node) { n.Labels[corev1.LabelTopologyZone] = "us-west1-b" },
	} {
		t.Run(name, func(t *testing.T) {
			node := fullNode()
			change(node)
			require.False(t, sameNode(old, trim(t, trimNode, node)))
		})
	}
}

func trim[T any](t *testing.T, f cache.TransformFunc, obj T) T {
	t.Helper()
	got, err := f(obj)
	require.NoError(t, err)
	typed, ok := got.(T)
	require.True(t, ok)
	return typed
}
