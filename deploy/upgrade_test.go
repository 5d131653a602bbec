package deploy_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/isthmus-dns/isthmus/test/kubetest"
)

// beforeEnv names a commit of this repository whose manifests are upgraded
// from, in the place of the previous one; test/clusters knows it, too.
const beforeEnv = "ISTHMUS_UPGRADE_FROM"

// before is the folder deploy as it was.
func before(t *testing.T) string {
	t.Helper()
	revision := os.Getenv(beforeEnv)
	if revision == "" {
		revision = "HEAD^"
	}
	if _, err := run("git", "rev-parse", "--verify", "--quiet", revision+"^{commit}"); err != nil {
		t.Skipf("no revision %s: this is no clone, or a shallow one", revision)
	}
	dir := t.TempDir()
	archive := filepath.Join(dir, "deploy.tar")
	out, err := run("git", "-C", "..", "archive", "-o", archive, revision, "deploy")
	require.NoError(t, err, out)
	out, err = run("tar", "-xf", archive, "-C", dir)
	require.NoError(t, err, out)
	return filepath.Join(dir, "deploy")
}

// kubectl is somebody at a terminal who may do everything in a cluster.
type kubectl struct {
	t          *testing.T
	kubeconfig string
}

func newKubectl(t *testing.T, c *kubetest.Cluster) kubectl {
	t.Helper()
	if _, err := exec.LookPath("kubectl"); err != nil {
		t.Skip("there is no kubectl")
	}
	return kubectl{t, admin(t, c)}
}

// do types a command, with the text of a file for its standard input.
func (k kubectl) do(in string, args ...string) {
	k.t.Helper()
	cmd := exec.Command("kubectl", args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+k.kubeconfig, "HOME="+k.t.TempDir())
	cmd.Stdin = strings.NewReader(in)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(k.t, cmd.Run(), "kubectl %s\n%s", strings.Join(args, " "), out.String())
}

// applied are all objects that kubectl has applied, by kind and name.
func applied(t *testing.T, c *kubetest.Cluster, kinds map[schema.GroupVersionResource]bool) map[string]*unstructured.Unstructured {
	t.Helper()
	client, err := dynamic.NewForConfig(c.Admin())
	require.NoError(t, err)
	all := map[string]*unstructured.Unstructured{}
	for kind := range kinds {
		list, err := client.Resource(kind).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err, kind)
		for i := range list.Items {
			object := &list.Items[i]
			if _, ok := object.GetAnnotations()["kubectl.kubernetes.io/last-applied-configuration"]; ok {
				all[object.GetKind()+" "+object.GetName()] = object
			}
		}
	}
	return all
}

// kindsOf are the resources of a form's objects.
func kindsOf(objects ...*unstructured.Unstructured) map[schema.GroupVersionResource]bool {
	kinds := map[schema.GroupVersionResource]bool{}
	for _, object := range objects {
		kind := object.GroupVersionKind()
		plural := strings.ToLower(kind.Kind) + "s"
		if strings.HasSuffix(kind.Kind, "y") {
			plural = strings.ToLower(strings.TrimSuffix(kind.Kind, "y")) + "ies"
		}
		kinds[kind.GroupVersion().WithResource(plural)] = true
	}
	return kinds
}

// meant takes off what the API server chose, and what an object keeps of its
// past.
func meant(object *unstructured.Unstructured) map[string]any {
	o := object.DeepCopy().Object
	for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "annotations"} {
		unstructured.RemoveNestedField(o, "metadata", field)
	}
	delete(o, "status")
	for _, field := range []string{"clusterIP", "clusterIPs"} {
		unstructured.RemoveNestedField(o, "spec", field)
	}
	if ports, ok, _ := unstructured.NestedSlice(o, "spec", "ports"); ok {
		for _, port := range ports {
			delete(port.(map[string]any), "nodePort")
		}
		_ = unstructured.SetNestedSlice(o, ports, "spec", "ports")
	}
	return o
}

// generated is a ConfigMap's name with kustomize's hash of its content.
var generated = regexp.MustCompile(`^ConfigMap isthmus-\S+-[a-z0-9]{10}$`)

// TestUpgradeFromBefore applies the manifests over those of the previous commit,
// with kubectl as README.md has it: nothing is refused, for a field that can't be
// changed, say; nothing is made anew, so that Services keep their addresses; what
// comes of it is what a new cluster gets; and what is left of the old is told in
// README.md, with the command that takes it away.
func TestUpgradeFromBefore(t *testing.T) {
	build := func(dir string) string {
		text, err := run(tool(t, "kustomize"), "build", dir)
		require.NoError(t, err, text)
		return text
	}
	old, now := build(filepath.Join(before(t), "base")), build("base")
	kinds := kindsOf(append(decode(t, old), decode(t, now)...)...)
	clusters := kubetest.StartAll(t, 2)
	upgraded, fresh := newKubectl(t, clusters[0]), newKubectl(t, clusters[1])

	upgraded.do(old, "apply", "-f", "-")
	first := applied(t, clusters[0], kinds)
	upgraded.do(now, "apply", "-f", "-")
	fresh.do(now, "apply", "-f", "-")

	got, want := applied(t, clusters[0], kinds), applied(t, clusters[1], kinds)
	require.Len(t, want, len(decode(t, now)))
	for name, object := range want {
		require.Contains(t, got, name)
		require.Equal(t, string(mustYAML(t, meant(object))), string(mustYAML(t, meant(got[name]))), name)
	}
	for name, object := range first {
		require.Equal(t, object.GetUID(), got[name].GetUID(), "%s was deleted", name)
		ip, _, _ := unstructured.NestedString(object.Object, "spec", "clusterIP")
		still, _, _ := unstructured.NestedString(got[name].Object, "spec", "clusterIP")
		require.Equal(t, ip, still, name)
		if want[name] == nil {
			require.Regexp(t, generated, name, "is left of before")
		}
	}

	upgraded.do(now, append([]string{"apply", "-f", "-"}, pruning(t)...)...)
	for name := range applied(t, clusters[0], kinds) {
		if want[name] == nil { // of a time when they had no labels
			require.Empty(t, first[name].GetLabels(), name)
		}
	}
	upgraded.do(now, "delete", "--wait=false", "-f", "-")
	for name, object := range applied(t, clusters[0], kinds) {
		require.True(t, object.GetNamespace() != "" || object.GetKind() == "Namespace", "%s is left", name)
	}
}

// pruning are the flags that README.md has for ConfigMaps of before.
func pruning(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	m := regexp.MustCompile(`(?m)^    kubectl apply -k overlays/\$CLUSTER (--prune .*)$`).FindSubmatch(text)
	require.NotNil(t, m)
	return strings.Fields(string(m[1]))
}

// TestPruningSparesWhatIsInUse: the command that takes old ConfigMaps away leaves
// the new ones, and the one that the watchers keep.
func TestPruningSparesWhatIsInUse(t *testing.T) {
	now, err := run(tool(t, "kustomize"), "build", "base")
	require.NoError(t, err, now)
	c := kubetest.Start(t)
	k := newKubectl(t, c)
	changed := regexp.MustCompile(`isthmus-watcher-config-[a-z0-9]{10}`).ReplaceAllString(now, "isthmus-watcher-config-0123456789")
	k.do(changed, "apply", "-f", "-")
	c.ApplyYAML("{apiVersion: v1, kind: ConfigMap, metadata: {name: isthmus-epoch, namespace: isthmus}}")
	k.do(now, append([]string{"apply", "-f", "-"}, pruning(t)...)...)
	maps, err := c.Client().CoreV1().ConfigMaps("isthmus").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	var names, want []string
	for _, m := range maps.Items {
		names = append(names, m.Name)
	}
	for _, object := range decode(t, now) {
		if object.GetKind() == "ConfigMap" {
			want = append(want, object.GetName())
		}
	}
	slices.Sort(names)
	require.Subset(t, names, append(want, "isthmus-epoch"))
	require.NotContains(t, names, "isthmus-watcher-config-0123456789")
}
