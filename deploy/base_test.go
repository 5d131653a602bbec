// Package deploy_test checks the manifests of deploy against a real API
// server: its schemas, its defaults and its Pod Security admission.
package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-dns/isthmus/test/kubetest"
)

// kustomization is what the tests need of a kustomization.yaml.
type kustomization struct {
	Resources          []string `json:"resources"`
	ConfigMapGenerator []struct {
		Name      string   `json:"name"`
		Namespace string   `json:"namespace"`
		Files     []string `json:"files"`
	} `json:"configMapGenerator"`
}

func base(t *testing.T) kustomization {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("base", "kustomization.yaml"))
	require.NoError(t, err)
	var k kustomization
	require.NoError(t, yaml.Unmarshal(data, &k))
	return k
}

// TestBaseIsComplete: kustomize takes each file of the folder, and makes each
// ConfigMap that a Pod mounts.
func TestBaseIsComplete(t *testing.T) {
	k := base(t)
	listed := append([]string{"kustomization.yaml"}, k.Resources...)
	made := map[string]bool{}
	for _, g := range k.ConfigMapGenerator {
		require.Equal(t, "isthmus", g.Namespace)
		listed = append(listed, g.Files...)
		made[g.Name] = true
	}
	files, err := os.ReadDir("base")
	require.NoError(t, err)
	var there []string
	for _, file := range files {
		there = append(there, file.Name())
	}
	require.ElementsMatch(t, there, listed)
	for _, template := range templates(t) {
		for _, volume := range template.Spec.Volumes {
			if volume.ConfigMap != nil {
				require.True(t, made[volume.ConfigMap.Name], "ConfigMap %s", volume.ConfigMap.Name)
			}
		}
	}
}

// templates are the Pods that the base makes, by file.
func templates(t *testing.T) map[string]corev1.PodTemplateSpec {
	t.Helper()
	out := map[string]corev1.PodTemplateSpec{}
	for _, file := range []string{"watcher-deployment.yaml", "agent-daemonset.yaml"} {
		data, err := os.ReadFile(filepath.Join("base", file))
		require.NoError(t, err)
		var workload struct {
			Spec struct {
				Template corev1.PodTemplateSpec `json:"template"`
			} `json:"spec"`
		}
		require.NoError(t, yaml.Unmarshal(data, &workload))
		out[file] = workload.Spec.Template
	}
	return out
}

// TestPodsKeepToThemselves holds the promises of DESIGN section 9 that no
// admission checks.
func TestPodsKeepToThemselves(t *testing.T) {
	for file, template := range templates(t) {
		t.Run(file, func(t *testing.T) {
			require.False(t, template.Spec.HostNetwork)
			for _, volume := range template.Spec.Volumes {
				require.Nil(t, volume.HostPath)
			}
			for _, container := range template.Spec.Containers {
				require.True(t, *container.SecurityContext.ReadOnlyRootFilesystem)
				require.NotEmpty(t, container.Resources.Requests)
				require.NotEmpty(t, container.Resources.Limits)
				require.NotNil(t, container.LivenessProbe)
				require.NotNil(t, container.ReadinessProbe)
			}
		})
	}
	agent := templates(t)["agent-daemonset.yaml"]
	require.False(t, *agent.Spec.AutomountServiceAccountToken, "an agent has no token")
}

// TestBaseIsAccepted applies the base and makes its Pods.
func TestBaseIsAccepted(t *testing.T) {
	c := kubetest.Start(t)
	c.Apply(filepath.Join("crds", "serviceexport.yaml"))
	for _, file := range base(t).Resources {
		c.Apply(filepath.Join("base", file))
	}
	pods := c.Client().CoreV1().Pods("isthmus")
	for file, template := range templates(t) {
		t.Run(file, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
			pod.Name = "probe-" + pod.Labels["app.kubernetes.io/name"]
			made, err := pods.Create(t.Context(), pod, metav1.CreateOptions{})
			require.NoError(t, err, "the namespace enforces the restricted Pod Security Standard")
			hasToken := slices.ContainsFunc(made.Spec.Volumes, func(v corev1.Volume) bool { return v.Projected != nil })
			require.Equal(t, file == "watcher-deployment.yaml", hasToken)

			loose := pod.DeepCopy()
			loose.Name += "-loose"
			loose.Spec.SecurityContext.SeccompProfile = nil
			_, err = pods.Create(t.Context(), loose, metav1.CreateOptions{})
			require.True(t, apierrors.IsForbidden(err), "the check is on: %v", err)
		})
	}
	t.Run("selectors find the Pods", func(t *testing.T) {
		services, err := c.Client().CoreV1().Services("isthmus").List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		require.Len(t, services.Items, 4)
		for _, svc := range services.Items {
			found, err := pods.List(t.Context(), metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: svc.Spec.Selector})})
			require.NoError(t, err)
			require.Len(t, found.Items, 1, svc.Name)
			for _, port := range svc.Spec.Ports {
				require.True(t, listens(found.Items[0], port), "%s port %s", svc.Name, port.Name)
			}
		}
	})
}

// TestSiblingsFindOneAnother: more than one watcher stands behind the one
// address that other clusters know, so the configuration must name a Service
// that gives the address of each, ready or not.
func TestSiblingsFindOneAnother(t *testing.T) {
	var config struct {
		Gossip struct {
			Siblings []string `json:"siblings"`
		} `json:"gossip"`
	}
	read(t, "watcher.yaml", &config)
	require.Len(t, config.Gossip.Siblings, 1)

	var deployment appsv1.Deployment
	read(t, "watcher-deployment.yaml", &deployment)
	require.Greater(t, *deployment.Spec.Replicas, int32(1))
	var pdb policyv1.PodDisruptionBudget
	read(t, "watcher-pdb.yaml", &pdb)
	require.Less(t, pdb.Spec.MaxUnavailable.IntVal, *deployment.Spec.Replicas, "one goes on")

	services, err := os.ReadFile(filepath.Join("base", "watcher-services.yaml"))
	require.NoError(t, err)
	objects, err := kubetest.Decode(services)
	require.NoError(t, err)
	found := false
	for _, object := range objects {
		var service corev1.Service
		require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &service))
		address := fmt.Sprintf("%s.%s.svc:%d", service.Name, service.Namespace, service.Spec.Ports[0].Port)
		if address != config.Gossip.Siblings[0] {
			continue
		}
		found = true
		require.Equal(t, corev1.ClusterIPNone, service.Spec.ClusterIP)
		require.True(t, service.Spec.PublishNotReadyAddresses)
		require.Equal(t, deployment.Spec.Template.Labels["app.kubernetes.io/name"], service.Spec.Selector["app.kubernetes.io/name"])
	}
	require.True(t, found, "no Service is at %s", config.Gossip.Siblings[0])
}

// read reads a file of the base that holds one object.
func read(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("base", file))
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(data, into))
}

// listens tells whether a Pod has the port that a Service's port points to.
func listens(pod corev1.Pod, port corev1.ServicePort) bool {
	return slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool {
		return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool {
			return p.Name == port.TargetPort.StrVal && p.Protocol == port.Protocol
		})
	})
}
