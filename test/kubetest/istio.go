package kubetest

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// IstioCRDs are Istio's own, of ServiceEntry and WorkloadEntry. Without them the
// test is skipped.
func IstioCRDs(t testing.TB) []*unstructured.Unstructured {
	t.Helper()
	dir := os.Getenv("ISTHMUS_DEPLOY_TOOLS")
	if dir == "" {
		t.Skip("ISTHMUS_DEPLOY_TOOLS names no folder with CRDs: `make deploy-tools` makes it, `make e2e` sets the variable")
	}
	data, err := os.ReadFile(filepath.Join(dir, "crds", "istio.yaml"))
	require.NoError(t, err)
	objects, err := Decode(data)
	require.NoError(t, err)
	objects = slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool {
		return o.GetName() != "serviceentries.networking.istio.io" && o.GetName() != "workloadentries.networking.istio.io"
	})
	require.Len(t, objects, 2)
	return objects
}
