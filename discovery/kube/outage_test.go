package kube_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-dns/isthmus/discovery"
)

// TestAPIServerAway restarts the API server under a running source.
func TestAPIServerAway(t *testing.T) {
	c := startCluster(t)
	c.Apply(crd)
	w := newWorld(t, c)
	w.namespace("shop")
	w.service("shop", "user", corev1.ServiceTypeClusterIP)
	w.slice("shop", "user-1", "user", addresses(2)...)
	w.service("shop", "cart", corev1.ServiceTypeClusterIP, undeclared)
	w.export("v1beta1", "shop", "cart")
	log := &lines{}
	v := follow(t, newSource(t, watcher(c), log.to))
	v.synced(t)
	before := v.count()

	c.StopAPI()
	eventually(t, func() bool { return log.has("kinds of the API server unknown") }, "the source notices")
	require.Equal(t, before, v.count(), "nothing is said while nothing is known")

	c.StartAPI()
	w.slice("shop", "user-1", "user", addresses(3)...)
	eventually(t, func() bool { return v.counts("shop", "user") == "3/3" }, "changes are seen again")
	require.Equal(t, []discovery.Key{"cart.shop", "user.shop"}, v.keys())
	require.Empty(t, v.everRemoved())
}

// TestStartsBeforeAPIServer starts a source while there is no API server. Its
// first update must hold what only a ServiceExport declares, although the CRD
// is the last thing that a starting API server knows.
func TestStartsBeforeAPIServer(t *testing.T) {
	c := startCluster(t)
	c.Apply(crd)
	w := newWorld(t, c)
	w.namespace("shop")
	w.service("shop", "cart", corev1.ServiceTypeClusterIP, undeclared)
	w.export("v1beta1", "shop", "cart")
	c.StopAPI()
	log := &lines{}
	v := follow(t, newSource(t, watcher(c), log.to))
	eventually(t, func() bool { return log.has("cluster UID not read") && log.has("kinds of the API server unknown") }, "the source tries")
	require.Zero(t, v.count())
	c.StartAPI()
	v.synced(t)
	require.Equal(t, []discovery.Key{"cart.shop"}, v.keys())
	require.Equal(t, 1, v.count())
}

// TestEtcdRestored puts etcd back to a backup under a running source, with more
// changes since then than a starting API server makes: the last version seen is
// one that etcd has not given out yet, and will give out a second time.
func TestEtcdRestored(t *testing.T) {
	c := startCluster(t)
	c.Apply(crd)
	w := newWorld(t, c)
	w.namespace("shop")
	w.service("shop", "old", corev1.ServiceTypeClusterIP)
	w.service("shop", "cart", corev1.ServiceTypeClusterIP, undeclared)
	w.export("v1beta1", "shop", "cart")
	v := follow(t, newSource(t, watcher(c)))
	v.synced(t)
	backup := c.Backup()
	w.service("shop", "late", corev1.ServiceTypeClusterIP, undeclared)
	w.export("v1beta1", "shop", "late")
	for n := range 300 { // the slices' informer comes this far, too
		w.slice("shop", "old-1", "old", addresses(1+n%2)...)
	}
	w.service("shop", "new", corev1.ServiceTypeClusterIP)
	require.NoError(t, c.Client().CoreV1().Services("shop").Delete(t.Context(), "old", metav1.DeleteOptions{}))
	eventually(t, func() bool { return slices.Equal(v.keys(), []discovery.Key{"cart.shop", "late.shop", "new.shop"}) }, "the source follows")

	c.Restore(backup)
	eventually(t, func() bool { return slices.Equal(v.keys(), []discovery.Key{"cart.shop", "old.shop"}) }, "the backup is the truth")
	w.service("shop", "after", corev1.ServiceTypeClusterIP)
	w.slice("shop", "after-1", "after", addresses(3)...)
	eventually(t, func() bool { return v.counts("shop", "after") == "3/3" }, "changes are seen again")
	require.Equal(t, []discovery.Key{"after.shop", "cart.shop", "old.shop"}, v.keys())
}
