package kube_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/kube"
)

var (
	crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	crdName     = "serviceexports.multicluster.x-k8s.io"
)

func keys(names ...discovery.Key) []discovery.Key { return names }

// TestConfirm asks for services that are there, not there, and there in part.
func TestConfirm(t *testing.T) {
	c := startCluster(t)
	c.Apply(crd)
	w := newWorld(t, c)
	w.namespace("shop")
	w.service("shop", "user", corev1.ServiceTypeClusterIP)
	w.service("shop", "cart", corev1.ServiceTypeClusterIP, undeclared)
	w.export("v1beta1", "shop", "cart")
	w.slice("shop", "user-1", "user", "-10.1.0.1")
	s := newSource(t, watcher(c), func(cfg *kube.Config) { cfg.MissingCRD = time.Hour })

	require.NoError(t, s.Confirm(t.Context(), keys("other.shop"), nil))
	require.ErrorContains(t, s.Confirm(t.Context(), keys("other.shop", "user.shop"), nil), "1 services, user.shop")
	require.ErrorContains(t, s.Confirm(t.Context(), keys("user.shop", "cart.shop"), nil), "2 services, cart.shop")
	require.ErrorContains(t, s.Confirm(t.Context(), nil, keys("user.shop")), "user.shop", "not ready is an endpoint, too")
	require.NoError(t, s.Confirm(t.Context(), nil, keys("cart.shop")))

	w.slice("shop", "user-1", "user")
	require.NoError(t, s.Confirm(t.Context(), nil, keys("user.shop")))
	w.annotate("shop", "user", nil)
	require.NoError(t, s.Confirm(t.Context(), keys("user.shop"), nil))
	w.unexport("v1beta1", "shop", "cart")
	require.NoError(t, s.Confirm(t.Context(), keys("cart.shop"), nil))

	t.Run("without its CRD", func(t *testing.T) {
		require.NoError(t, w.d.Resource(crdResource).Delete(t.Context(), crdName, metav1.DeleteOptions{}))
		hasty := newSource(t, watcher(c), func(cfg *kube.Config) { cfg.MissingCRD = time.Nanosecond })
		eventually(t, func() bool { // for a moment it is still announced, and not found
			err := s.Confirm(t.Context(), keys("cart.shop"), nil)
			return err != nil && strings.Contains(err.Error(), "CRD is gone")
		}, "the CRD is gone")
		require.NoError(t, s.Confirm(t.Context(), keys("other.shop"), nil), "a Service that is gone needs no declaration")
		w.annotate("shop", "cart", map[string]string{"isthmus.dev/export": "false"})
		require.NoError(t, s.Confirm(t.Context(), keys("cart.shop"), nil), "somebody has said so")
		w.annotate("shop", "cart", nil)
		require.Error(t, s.Confirm(t.Context(), keys("cart.shop"), nil))
		_ = hasty.Confirm(t.Context(), keys("cart.shop"), nil)
		require.NoError(t, hasty.Confirm(t.Context(), keys("cart.shop"), nil), "the time is over")
	})

	t.Run("without rights", func(t *testing.T) {
		s := newSource(t, c.ServiceAccount(namespace, "isthmus-agent"))
		err := s.Confirm(t.Context(), keys("other.shop"), nil)
		require.True(t, apierrors.IsForbidden(err), "%v", err)
	})
}

// TestConfirmReadsAllPages: what is not on the first page is there, too.
func TestConfirmReadsAllPages(t *testing.T) {
	c := startCluster(t)
	w := newWorld(t, c)
	w.namespace("shop")
	const services = 520
	for i := range services {
		w.service("shop", fmt.Sprintf("s%03d", i), corev1.ServiceTypeClusterIP, func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone })
	}
	s := newSource(t, watcher(c))
	var all []discovery.Key
	for i := range services {
		all = append(all, discovery.Key(fmt.Sprintf("s%03d.shop", i)))
	}
	require.ErrorContains(t, s.Confirm(t.Context(), all, nil), "520 services")
}

// TestRightsLost: an account that may list nothing any more has nothing to say,
// neither in updates nor when it is asked.
func TestRightsLost(t *testing.T) {
	c := startCluster(t)
	c.Apply(crd)
	w := newWorld(t, c)
	w.namespace("shop")
	w.service("shop", "user", corev1.ServiceTypeClusterIP)
	w.service("shop", "cart", corev1.ServiceTypeClusterIP, undeclared)
	w.export("v1beta1", "shop", "cart")
	log := &lines{}
	s := newSource(t, watcher(c), log.to)
	v := follow(t, s)
	v.synced(t)

	require.NoError(t, w.c.RbacV1().ClusterRoleBindings().Delete(t.Context(), "isthmus-watcher", metav1.DeleteOptions{}))
	c.StopAPI() // which ends all watches
	c.StartAPI()
	eventually(t, func() bool { return apierrors.IsForbidden(s.Confirm(t.Context(), keys("user.shop"), nil)) }, "rights are gone")
	for _, resource := range []string{"services", "serviceexports"} {
		eventually(t, func() bool { return log.has("forbidden", resource) }, "the informer on "+resource+" asks in vain")
	}
	require.Empty(t, v.everRemoved())
	require.Equal(t, []discovery.Key{"cart.shop", "user.shop"}, v.keys())
}
