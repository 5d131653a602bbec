package clusters

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// testRestricted: the Pods run where only restricted ones may, with what they
// were installed with and nothing else.
func testRestricted(t *testing.T, f *fleet) {
	for _, c := range f.clusters {
		namespace, err := c.client.CoreV1().Namespaces().Get(t.Context(), "isthmus", metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, "restricted", namespace.Labels["pod-security.kubernetes.io/enforce"])

		for name, want := range map[string]struct {
			pods  int
			token bool
		}{
			"isthmus-watcher": {pods: 2, token: true},
			"isthmus-agent":   {pods: len(c.nodes(t)), token: false},
		} {
			pods, err := c.pods(t.Context(), "isthmus", "app.kubernetes.io/name="+name)
			require.NoError(t, err)
			require.Len(t, pods, want.pods, "%s of %s", name, c.name)
			for _, pod := range pods {
				require.Equal(t, name, pod.Spec.ServiceAccountName)
				require.Equal(t, want.token, hasToken(pod), "%s has a token", pod.Name)
				require.True(t, ready(pod), "%s is ready", pod.Name)
			}
		}

		// Whoever publishes has the Lease, and reads what it is allowed to: the
		// other clusters' answers are the proof.
		lease, err := c.client.CoordinationV1().Leases("isthmus").Get(t.Context(), "isthmus-watcher", metav1.GetOptions{})
		require.NoError(t, err)
		require.NotEmpty(t, *lease.Spec.HolderIdentity)
		bindings, err := c.client.RbacV1().ClusterRoleBindings().List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		var roles []string
		for _, b := range bindings.Items {
			for _, s := range b.Subjects {
				if s.Namespace == "isthmus" {
					roles = append(roles, s.Name+" is "+b.RoleRef.Name)
				}
			}
		}
		require.Equal(t, []string{"isthmus-watcher is isthmus-watcher"}, roles)
	}
}

// hasToken tells whether a Pod has its account's token in any of the ways.
func hasToken(pod corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool {
			return s.ServiceAccountToken != nil
		})
	})
}

func ready(pod corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// nodes of the cluster.
func (c *cluster) nodes(t testing.TB) []corev1.Node {
	t.Helper()
	list, err := c.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	return list.Items
}
