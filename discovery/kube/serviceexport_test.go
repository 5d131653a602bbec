package kube_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/isthmus-dns/isthmus/test/kubetest"
)

// servedOnly is the CRD with one of its versions served.
func servedOnly(t *testing.T, version string) []*unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(crd)
	require.NoError(t, err)
	objects, err := kubetest.Decode(data)
	require.NoError(t, err)
	versions, _, err := unstructured.NestedSlice(objects[0].Object, "spec", "versions")
	require.NoError(t, err)
	require.Len(t, versions, 2)
	for _, v := range versions {
		v := v.(map[string]any)
		v["served"] = v["name"] == version
	}
	require.NoError(t, unstructured.SetNestedSlice(objects[0].Object, versions, "spec", "versions"))
	return objects
}

// TestServiceExportCRD follows the CRD through its life: absent, one version,
// the other, gone, and back.
func TestServiceExportCRD(t *testing.T) {
	c := startCluster(t)
	w := newWorld(t, c)
	w.namespace("shop")
	w.service("shop", "plain", corev1.ServiceTypeClusterIP)
	w.service("shop", "cart", corev1.ServiceTypeClusterIP, undeclared)
	log := &lines{}
	v := follow(t, newSource(t, watcher(c), log.to))

	v.synced(t)
	require.Equal(t, "[plain.shop]", fmt.Sprint(v.keys()), "no CRD holds nothing up")

	c.ApplyObjects(servedOnly(t, "v1alpha1")...)
	w.export("v1alpha1", "shop", "cart")
	eventually(t, func() bool { return v.get("shop", "cart") != nil }, "CRD installed later")
	eventually(t, func() bool { return log.has("kind is followed", "serviceexports", "v1alpha1") }, "v1alpha1 followed")

	c.ApplyObjects(servedOnly(t, "v1beta1")...)
	eventually(t, func() bool { return log.has("kind is followed", "serviceexports", "v1beta1") }, "v1beta1 followed")
	require.Empty(t, v.everRemoved(), "a change of version takes nothing away")
	w.unexport("v1beta1", "shop", "cart")
	eventually(t, func() bool { return v.get("shop", "cart") == nil }, "the new version is what counts")
	w.export("v1beta1", "shop", "cart")
	eventually(t, func() bool { return v.get("shop", "cart") != nil }, "exported again")

	crds := w.d.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	require.NoError(t, crds.Delete(t.Context(), "serviceexports.multicluster.x-k8s.io", metav1.DeleteOptions{}))
	eventually(t, func() bool { return v.get("shop", "cart") == nil }, "exports go with their CRD")
	require.NotNil(t, v.get("shop", "plain"))

	eventually(t, func() bool {
		_, err := crds.Get(t.Context(), "serviceexports.multicluster.x-k8s.io", metav1.GetOptions{})
		return err != nil && strings.Contains(err.Error(), "not found")
	}, "CRD gone")
	eventually(t, func() bool { return log.has("not followed any more", "serviceexports") }, "informer ended")
	c.Apply(crd)
	w.export("v1beta1", "shop", "cart")
	eventually(t, func() bool { return v.get("shop", "cart") != nil }, "CRD back")
}
