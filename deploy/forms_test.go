package deploy_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
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
				if object.GetNamespace() == "isthmus" {
					remarkable := object.DeepCopy()
					unstructured.RemoveNestedField(remarkable.Object, "spec", "template", "spec", "securityContext", "seccompProfile")
					s.judge(t, remarkable)
					require.NotEmpty(t, s.remarks.take(), "there would be a remark")
				}
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
