package kube

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/cache"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// TestNetworksGiveWayToGateways: a cluster's record that has no room for both
// keeps what answers are made of.
func TestNetworksGiveWayToGateways(t *testing.T) {
	for name, test := range map[string]struct{ hosts, networks int }{
		"room":    {8, 1},
		"no room": {60, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatch(t)
			w.source.cfg.Gateways = func() []export.SetEntry {
				var out []export.SetEntry
				for i := range test.hosts {
					host := fmt.Sprintf("h%03d.%0250d", i, 0)
					out = append(out, export.SetEntry{Set: "default", Gateway: discovery.Gateway{Hostname: host, Kind: discovery.GatewayStatic}})
				}
				return out
			}
			require.NoError(t, w.informers.nodes.GetIndexer().Add(fullNode()))
			record := w.clusterRecord()
			require.Len(t, record.GatewaySets[0].Gateways, test.hosts)
			require.Len(t, record.PodCIDRs, test.networks)
		})
	}
}

// TestWhatIsNotSeenIsNotMeantToBeGone: gateways that go while a kind can't be
// listed may be there.
func TestWhatIsNotSeenIsNotMeantToBeGone(t *testing.T) {
	w := newWatch(t)
	svc := fullService(corev1.ServiceTypeClusterIP)
	require.NoError(t, w.informers.services.GetIndexer().Add(svc))
	key := cache.NewObjectName(svc.Namespace, svc.Name)
	meant := func() bool {
		var u discovery.Update
		delete(w.sent, key)
		w.look(key, &u)
		require.Len(t, u.Services, 1)
		return u.Meant[u.Services[0].Key()]
	}
	require.True(t, meant())
	w.kinds.ingresses.blind.Store(true)
	require.False(t, meant())
	w.kinds.ingresses.blind.Store(false)
	require.True(t, meant())
}

// TestLongListsAreCutBeforeTheyAreCached: of each optional kind that has some.
func TestLongListsAreCutBeforeTheyAreCached(t *testing.T) {
	many := make([]any, 10_000)
	for i := range many {
		many[i] = map[string]any{}
	}
	long := func(kind *kind, fields ...string) metav1.Object {
		u := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"namespace": "shop", "name": "web"}}}
		require.NoError(t, unstructured.SetNestedField(u.Object, many, fields...))
		got, err := kind.trim(u)
		require.NoError(t, err)
		return got.(metav1.Object)
	}
	k := newWatch(t).kinds
	require.Less(t, len(long(k.gateways.kind, "spec", "listeners").(*export.Gateway).Spec.Listeners), 100)
	require.Less(t, len(long(k.grants.kind, "spec", "from").(*export.ReferenceGrant).Spec.From), 100)
	require.Less(t, len(long(k.ingresses.kind, "status", "loadBalancer", "ingress").(*networkingv1.Ingress).Status.LoadBalancer.Ingress), 100)
	for _, route := range k.routes {
		require.Less(t, len(long(route.kind, "spec", "parentRefs").(*export.Route).Spec.ParentRefs), 100)
	}
}
