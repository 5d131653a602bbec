package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/isthmus-dns/isthmus/test/kubetest"
)

// ours are all objects of the cluster that bear our label, whatever they are.
func ours(t *testing.T, c *kubetest.Cluster) []string {
	t.Helper()
	client, err := dynamic.NewForConfig(c.Admin())
	require.NoError(t, err)
	known, err := discovery.NewDiscoveryClientForConfig(c.Admin())
	require.NoError(t, err)
	lists, err := known.ServerPreferredResources()
	require.NoError(t, err)
	var all []string
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		require.NoError(t, err)
		for _, resource := range list.APIResources {
			if !slices.Contains(resource.Verbs, "list") {
				continue
			}
			objects, err := client.Resource(version.WithResource(resource.Name)).List(t.Context(),
				metav1.ListOptions{LabelSelector: "app.kubernetes.io/part-of=isthmus"})
			require.NoError(t, err, resource.Name)
			for _, object := range objects.Items {
				all = append(all, object.GetKind()+" "+object.GetNamespace()+"/"+object.GetName())
			}
		}
	}
	return all
}

// admin is a kubeconfig of somebody who may do everything.
func admin(t *testing.T, c *kubetest.Cluster) string {
	t.Helper()
	c.ApplyYAML(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: admin, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: admin-of-tests}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: admin, namespace: default}]
`)
	return c.WriteKubeconfig(filepath.Join(t.TempDir(), "kubeconfig"), c.Token("default", "admin"))
}

// TestHelmComesAndGoes: a release takes over the Services that README.md makes
// before it, is upgraded, and leaves nothing when it goes.
func TestHelmComesAndGoes(t *testing.T) {
	binary, err := filepath.Abs(tool(t, "helm"))
	require.NoError(t, err)
	c := kubetest.Start(t)
	c.Apply(filepath.Join("base", "namespace.yaml"), filepath.Join("base", "watcher-services.yaml"))
	kubeconfig, home := admin(t, c), t.TempDir()
	do := func(args ...string) {
		t.Helper()
		cmd := exec.Command(binary, append(args, "-n", "isthmus")...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "HOME="+home)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	var values []string
	for _, value := range cluster {
		values = append(values, "--set", value)
	}
	do(append([]string{"install", "isthmus", chart, "--take-ownership"}, values...)...)
	installed := ours(t, c)
	require.Contains(t, installed, "DaemonSet isthmus/isthmus-agent")
	do(append([]string{"upgrade", "isthmus", chart, "--set", "watcher.replicas=3,routing.order=latency"}, values...)...)
	client, err := kubernetes.NewForConfig(c.Admin())
	require.NoError(t, err)
	deployment, err := client.AppsV1().Deployments("isthmus").Get(t.Context(), "isthmus-watcher", metav1.GetOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 3, *deployment.Spec.Replicas)
	require.ElementsMatch(t, installed, ours(t, c))
	do("uninstall", "isthmus")
	require.Equal(t, []string{"Namespace /isthmus"}, ours(t, c), "which was there before")
}
