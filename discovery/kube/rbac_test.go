package kube_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	authv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestRights asks the API server what the accounts of deploy/base may do. That
// the watcher's rights suffice, all other tests here show: they run with them.
func TestRights(t *testing.T) {
	c := startCluster(t)
	account := func(config *rest.Config) kubernetes.Interface {
		client, err := kubernetes.NewForConfig(config)
		require.NoError(t, err)
		return client
	}
	watcher := account(watcher(c))
	agent := account(c.ServiceAccount(namespace, "isthmus-agent"))

	for name, client := range map[string]kubernetes.Interface{"watcher": watcher, "agent": agent} {
		t.Run(name+" reads no secrets", func(t *testing.T) {
			for _, ns := range []string{namespace, metav1.NamespaceSystem, metav1.NamespaceAll} {
				_, err := client.CoreV1().Secrets(ns).List(t.Context(), metav1.ListOptions{})
				require.True(t, apierrors.IsForbidden(err), "list in %q: %v", ns, err)
			}
			_, err := client.CoreV1().Secrets(namespace).Get(t.Context(), "isthmus-watcher-tls", metav1.GetOptions{})
			require.True(t, apierrors.IsForbidden(err), "get: %v", err)
		})
	}
	// Everything below is {group, resource, namespace, name}.
	every := []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
	for _, tt := range []struct {
		what                             string
		group, resource, namespace, name string
		watcher                          []string // the verbs it is allowed
	}{
		{"services", "", "services", "", "", []string{"list", "watch"}},
		{"nodes", "", "nodes", "", "", []string{"list", "watch"}},
		{"slices", "discovery.k8s.io", "endpointslices", "", "", []string{"list", "watch"}},
		{"exports", "multicluster.x-k8s.io", "serviceexports", "", "", []string{"list", "watch"}},
		{"status of exports", "multicluster.x-k8s.io", "serviceexports/status", "", "", []string{"patch"}},
		{"events", "", "events", "", "", []string{"create"}},
		{"ingresses", "networking.k8s.io", "ingresses", "", "", []string{"list", "watch"}},
		{"status of ingresses", "networking.k8s.io", "ingresses/status", "", "", nil},
		{"ingress classes", "networking.k8s.io", "ingressclasses", "", "", []string{"list", "watch"}},
		{"service CIDRs", "networking.k8s.io", "servicecidrs", "", "", []string{"list", "watch"}},
		{"gateways", "gateway.networking.k8s.io", "gateways", "", "", []string{"list", "watch"}},
		{"HTTP routes", "gateway.networking.k8s.io", "httproutes", "", "", []string{"list", "watch"}},
		{"UDP routes", "gateway.networking.k8s.io", "udproutes", "", "", []string{"list", "watch"}},
		{"reference grants", "gateway.networking.k8s.io", "referencegrants", "", "", []string{"list", "watch"}},
		{"service entries", "networking.istio.io", "serviceentries", "", "", []string{"list", "watch"}},
		{"workload entries", "networking.istio.io", "workloadentries", "", "", []string{"list", "watch"}},
		{"pods", "", "pods", "", "", nil},
		{"token requests", "", "serviceaccounts/token", namespace, "isthmus-watcher", nil},
		{"roles", "rbac.authorization.k8s.io", "roles", namespace, "", nil},
		{"own lease", "coordination.k8s.io", "leases", namespace, "isthmus-watcher", []string{"get", "create", "update"}},
		{"other lease", "coordination.k8s.io", "leases", namespace, "other", []string{"create"}},
		{"leases elsewhere", "coordination.k8s.io", "leases", "kube-system", "isthmus-watcher", nil},
		{"own epoch", "", "configmaps", namespace, "isthmus-epoch", []string{"get", "create", "update"}},
		{"other configmap", "", "configmaps", namespace, "other", []string{"create"}},
		{"configmaps elsewhere", "", "configmaps", "kube-system", "isthmus-epoch", nil},
		{"kube-system", "", "namespaces", "", "kube-system", []string{"get"}},
		{"other namespace", "", "namespaces", "", "default", nil},
	} {
		t.Run(tt.what, func(t *testing.T) {
			require.ElementsMatch(t, tt.watcher, allowed(t, watcher, every, tt.group, tt.resource, tt.namespace, tt.name))
			require.Empty(t, allowed(t, agent, every, tt.group, tt.resource, tt.namespace, tt.name), "the agent may do nothing")
		})
	}
}

// allowed are the verbs that the API server would grant the client.
func allowed(t *testing.T, client kubernetes.Interface, verbs []string, group, resource, namespace, name string) []string {
	t.Helper()
	var out []string
	for _, verb := range verbs {
		review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), &authv1.SelfSubjectAccessReview{
			Spec: authv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authv1.ResourceAttributes{
				Group: group, Resource: resource, Namespace: namespace, Name: name, Verb: verb,
			}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		if review.Status.Allowed {
			out = append(out, verb)
		}
	}
	return out
}
