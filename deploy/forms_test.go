package deploy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-dns/isthmus/test/kubetest"
)

// forms are all ways to deploy, by name.
func forms(t *testing.T) map[string][]*unstructured.Unstructured {
	t.Helper()
	out := map[string][]*unstructured.Unstructured{
		"base": kustomize(t, "base"),
		"helm": rendered(t, "namespace.create=true"),
		"helm, all options": rendered(t, "namespace.create=true", "tls.certManager.enabled=true", "serviceMonitor.enabled=true",
			"prometheusRule.enabled=true", "gossipService.loadBalancerSourceRanges={192.0.2.0/24}",
			"gossipService.externalTrafficPolicy=Local", "gossipService.loadBalancerClass=example.net/lb",
			"gossipService.annotations.example=a", "dnsService.clusterIP=10.96.0.53", "dnsService.annotations.example=a",
			"agent.dnsPolicy=None", "agent.dnsConfig.nameservers={10.96.0.10}", "watcher.podLabels.example=a",
			"watcher.podAnnotations.example=a", "watcher.tolerations[0].operator=Exists", "image.pullPolicy=Always",
			"image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000", "imagePullSecrets[0].name=a",
			"serviceMonitor.interval=30s", "serviceMonitor.labels.release=a", "prometheusRule.labels.release=a"),
	}
	overlays, err := os.ReadDir("overlays")
	require.NoError(t, err)
	require.NotEmpty(t, overlays)
	for _, overlay := range overlays {
		out[overlay.Name()] = kustomize(t, filepath.Join("overlays", overlay.Name()))
	}
	return out
}

// used are the CRDs of others whose kinds some form has, or some example.
var used = map[string]bool{
	"certificates.cert-manager.io":          true,
	"issuers.cert-manager.io":               true,
	"servicemonitors.monitoring.coreos.com": true,
	"prometheusrules.monitoring.coreos.com": true,
	"serviceentries.networking.istio.io":    true,
	"destinationrules.networking.istio.io":  true,
	"gateways.networking.istio.io":          true,
}

// kinds are theirs.
var kinds = []schema.GroupKind{
	{Group: "multicluster.x-k8s.io", Kind: "ServiceExport"},
	{Group: "cert-manager.io", Kind: "Certificate"},
	{Group: "cert-manager.io", Kind: "Issuer"},
	{Group: "monitoring.coreos.com", Kind: "ServiceMonitor"},
	{Group: "monitoring.coreos.com", Kind: "PrometheusRule"},
	{Group: "networking.istio.io", Kind: "ServiceEntry"},
	{Group: "networking.istio.io", Kind: "DestinationRule"},
	{Group: "networking.istio.io", Kind: "Gateway"},
}

// How long a CRD may take to be served on a busy machine, and how often that is
// looked at.
const (
	served = 30 * time.Second
	tick   = 100 * time.Millisecond
)

// server is an API server that tells what it remarks on.
type server struct {
	*kubetest.Cluster
	client  dynamic.Interface
	mapper  meta.RESTMapper
	remarks *remarks
}

type remarks struct {
	mu   sync.Mutex
	list []string
}

// HandleWarningHeader is called by client-go for each warning of a response.
func (r *remarks) HandleWarningHeader(_ int, _, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, text)
}

func (r *remarks) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.list
	r.list = nil
	return list
}

// newServer has what all forms need to be there before: the namespace, its
// accounts, and the CRDs of others.
func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{Cluster: kubetest.Start(t), remarks: &remarks{}}
	config := s.Admin()
	config.WarningHandler = s.remarks
	var err error
	s.client, err = dynamic.NewForConfig(config)
	require.NoError(t, err)
	s.Apply(filepath.Join("base", "namespace.yaml"), filepath.Join("crds", "serviceexport.yaml"))
	crds, err := filepath.Glob(tool(t, filepath.Join("crds", "*.yaml")))
	require.NoError(t, err)
	require.NotEmpty(t, crds)
	for _, file := range crds {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, crd := range decode(t, string(data)) {
			if used[crd.GetName()] {
				s.ApplyObjects(crd)
			}
		}
	}
	s.Apply(filepath.Join("base", "rbac.yaml"))
	s.ApplyYAML("{apiVersion: v1, kind: ServiceAccount, metadata: {name: isthmus-dns, namespace: isthmus}}") // its Pod is tried where the standard is enforced
	known, err := discovery.NewDiscoveryClientForConfig(config)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		groups, err := restmapper.GetAPIGroupResources(known)
		if err != nil {
			return false
		}
		s.mapper = restmapper.NewDiscoveryRESTMapper(groups)
		for _, kind := range kinds {
			if _, err := s.mapper.RESTMapping(kind); err != nil {
				return false
			}
		}
		return true
	}, served, tick, "CRDs are not served")
	return s
}

// dryRun has the API server judge an object as if it were applied. The test
// fails on any remark, too.
func (s *server) dryRun(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	kind := object.GroupVersionKind()
	mapping, err := s.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	require.NoError(t, err)
	var to dynamic.ResourceInterface = s.client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		namespace := object.GetNamespace()
		require.NotEmpty(t, namespace, "%s %s goes to whatever namespace is current", kind.Kind, object.GetName())
		to = s.client.Resource(mapping.Resource).Namespace(namespace)
	}
	data, err := json.Marshal(object.Object)
	require.NoError(t, err)
	force := true
	_, err = to.Patch(t.Context(), object.GetName(), types.ApplyPatchType, data, metav1.PatchOptions{
		DryRun: []string{metav1.DryRunAll}, Force: &force, FieldManager: "deploy-test", FieldValidation: metav1.FieldValidationStrict,
	})
	require.NoError(t, err, "%s %s", kind.Kind, object.GetName())
	require.Empty(t, s.remarks.take(), "%s %s", kind.Kind, object.GetName())
}

// pod makes a workload's Pod as its controller would.
func pod(t *testing.T, workload *unstructured.Unstructured) *corev1.Pod {
	t.Helper()
	var w struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(workload.Object, &w))
	made := &corev1.Pod{ObjectMeta: w.Spec.Template.ObjectMeta, Spec: w.Spec.Template.Spec}
	made.Name = workload.GetName() + "-x"
	return made
}

// TestFormsAreAccepted: a real API server takes every form without a remark,
// and the Pods in a namespace that enforces the restricted standard.
func TestFormsAreAccepted(t *testing.T) {
	all := forms(t)
	s := newServer(t)
	client, err := kubernetes.NewForConfig(s.Admin())
	require.NoError(t, err)
	for name, objects := range all {
		t.Run(name, func(t *testing.T) {
			workloads := 0
			for _, object := range objects {
				s.dryRun(t, object)
				if kind := object.GetKind(); kind != "Deployment" && kind != "DaemonSet" {
					continue
				}
				workloads++
				p := pod(t, object)
				pods := client.CoreV1().Pods("isthmus") // also of what goes elsewhere: that namespace enforces
				p.Namespace = "isthmus"
				made, err := pods.Create(t.Context(), p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
				require.NoError(t, err)
				require.NotZero(t, *made.Spec.Priority, "%s has a class of the system's", p.Name)
				keepsToItself(t, made)
				loose := p.DeepCopy()
				loose.Spec.SecurityContext.SeccompProfile = nil
				_, err = pods.Create(t.Context(), loose, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
				require.True(t, apierrors.IsForbidden(err), "the check is on: %v", err)
			}
			require.Equal(t, 2, workloads)
		})
	}
	files := map[string][]*unstructured.Unstructured{}
	for _, file := range manifests(t, "stub", "examples") {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		files[file] = decode(t, string(data))
		for _, object := range files[file] {
			if object.GetKind() == "Namespace" {
				s.ApplyObjects(object)
				s.ApplyYAML("{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: " + object.GetName() + "}}") // a controller's work
			}
		}
	}
	s.ApplyYAML("{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}")
	s.remarks.take()
	if secrets := secrets(t); secrets != nil {
		files["isthmus pki secrets"] = secrets
	}
	for file, objects := range files {
		t.Run(file, func(t *testing.T) {
			for _, object := range objects {
				s.dryRun(t, object)
			}
		})
	}
}

// secrets are what README.md has the program make; nil without the program.
func secrets(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	binary := os.Getenv("ISTHMUS_BIN")
	if binary == "" {
		return nil
	}
	dir := filepath.Join(t.TempDir(), "pki")
	text := ""
	for _, args := range [][]string{
		{"pki", "init", "--dir", dir, "--clusterset", "prod"},
		{"pki", "issue", "--dir", dir, "--cluster", "west"},
		{"pki", "secrets", "--dir", dir, "--cluster", "west"},
	} {
		var err error
		text, err = run(binary, args...)
		require.NoError(t, err, text)
	}
	return decode(t, text)
}

// keepsToItself holds the promises that no admission checks.
func keepsToItself(t *testing.T, made *corev1.Pod) {
	t.Helper()
	require.False(t, made.Spec.HostNetwork)
	token := false
	for _, volume := range made.Spec.Volumes {
		require.Nil(t, volume.HostPath)
		token = token || volume.Projected != nil
	}
	agent := made.Labels["app.kubernetes.io/name"] == "isthmus-agent"
	require.Equal(t, !agent, token, "only those who ask the API server have a token")
	for _, container := range made.Spec.Containers {
		require.True(t, *container.SecurityContext.ReadOnlyRootFilesystem)
		require.NotEmpty(t, container.Resources.Requests)
		require.NotEmpty(t, container.Resources.Limits)
		require.NotNil(t, container.LivenessProbe)
		require.NotNil(t, container.ReadinessProbe)
	}
	if agent {
		require.Contains(t, made.Spec.Tolerations, corev1.Toleration{Operator: corev1.TolerationOpExists}, "runs on every node")
	}
}

// manifests are the YAML files below folders that are no kustomize input.
func manifests(t *testing.T, dirs ...string) []string {
	t.Helper()
	var files []string
	for _, dir := range dirs {
		require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && filepath.Ext(path) == ".yaml" && entry.Name() != "watcher.yaml" && entry.Name() != "values.yaml" {
				files = append(files, path)
			}
			return err
		}))
	}
	require.NotEmpty(t, files)
	return files
}

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

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(data, into))
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
