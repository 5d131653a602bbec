package deploy_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestRoleNamesAreKept: the names in the Role are those of the Lease and the
// ConfigMap that the watcher makes itself, in every form. kustomize takes what
// is called like a ConfigMap that it generates for a reference to that one.
func TestRoleNamesAreKept(t *testing.T) {
	for name, objects := range forms(t) {
		t.Run(name, func(t *testing.T) {
			var names []string
			for _, object := range objects {
				if object.GetKind() != "Role" {
					continue
				}
				rules, _, err := unstructured.NestedSlice(object.Object, "rules")
				require.NoError(t, err)
				for _, rule := range rules {
					list, _, err := unstructured.NestedStringSlice(rule.(map[string]any), "resourceNames")
					require.NoError(t, err)
					names = append(names, list...)
				}
			}
			require.Subset(t, names, []string{"isthmus-watcher", "isthmus-epoch"})
			for _, name := range names {
				require.NotRegexp(t, `-[a-z0-9]{10}$`, name)
			}
		})
	}
}

// TestNothingIsLeftBehind: what a form applies is deleted with it, and what its
// Pods make lies in its namespace, which the base's forms delete too.
func TestNothingIsLeftBehind(t *testing.T) {
	for name, objects := range forms(t) {
		t.Run(name, func(t *testing.T) {
			for _, object := range objects {
				require.Empty(t, object.GetFinalizers())
				require.NotContains(t, []string{
					"CustomResourceDefinition", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "APIService",
				}, object.GetKind())
				require.Equal(t, "isthmus", object.GetLabels()["app.kubernetes.io/part-of"], "%s %s can be found by its label", object.GetKind(), object.GetName())
				if namespace := object.GetNamespace(); namespace != "" && name != "main-dns" {
					require.Equal(t, "isthmus", namespace)
				}
				for key := range object.GetAnnotations() {
					require.NotContains(t, key, "helm.sh/hook", "helm uninstall doesn't delete hooks")
				}
			}
		})
	}
}

// TestLameDuckOutlivesReadiness: who answers DNS behind a Service goes on for
// longer than it takes the kubelet to see that it is not ready, and some seconds
// more for kube-proxy, which leaves UDP flows with a Pod until then.
func TestLameDuckOutlivesReadiness(t *testing.T) {
	const hearsay = 4 * time.Second
	lameduck := regexp.MustCompile(`(?m)^\s+lameduck (\S+)$`)
	for name, objects := range forms(t) {
		t.Run(name, func(t *testing.T) {
			m := lameduck.FindStringSubmatch(configs(t, objects)["Corefile"])
			require.NotNil(t, m)
			lasts, err := time.ParseDuration(m[1])
			require.NoError(t, err)
			found := false
			for _, object := range objects {
				if kind := object.GetKind(); kind != "Deployment" && kind != "DaemonSet" {
					continue
				}
				p := pod(t, object)
				if p.Labels["app.kubernetes.io/name"] == "isthmus-watcher" {
					continue
				}
				found = true
				probe := p.Spec.Containers[0].ReadinessProbe
				seen := time.Duration(probe.PeriodSeconds*probe.FailureThreshold) * time.Second
				require.Positive(t, seen)
				require.GreaterOrEqual(t, lasts, seen+hearsay)
				grace := 30 * time.Second // the default
				if s := p.Spec.TerminationGracePeriodSeconds; s != nil {
					grace = time.Duration(*s) * time.Second
				}
				require.Less(t, lasts+10*time.Second, grace, "the table is saved after it")
			}
			require.True(t, found)
		})
	}
}
