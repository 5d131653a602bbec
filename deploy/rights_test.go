package deploy_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/isthmus-dns/isthmus/test/kubetest"
)

// rights are what an account may do in a namespace as the API server tells it,
// one line for each resource, as `kubectl auth can-i --list` shows them.
func rights(t *testing.T, c *kubetest.Cluster, namespace, account string) []string {
	t.Helper()
	config := c.Admin()
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + namespace + ":" + account,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	review, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(),
		&authv1.SelfSubjectRulesReview{Spec: authv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.False(t, review.Status.Incomplete)
	verbs := map[string][]string{} // by resource and names
	for _, rule := range review.Status.ResourceRules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				if group != "" { // serviceexports.multicluster.x-k8s.io/status
					kind, part, found := strings.Cut(resource, "/")
					resource = kind + "." + group
					if found {
						resource += "/" + part
					}
				}
				key := fmt.Sprintf("%-48s %-20s", resource, strings.Join(rule.ResourceNames, " "))
				for _, verb := range rule.Verbs {
					if !slices.Contains(verbs[key], verb) {
						verbs[key] = append(verbs[key], verb)
					}
				}
			}
		}
	}
	for _, rule := range review.Status.NonResourceRules {
		for _, url := range rule.NonResourceURLs {
			verbs[fmt.Sprintf("%-48s %-20s", url, "")] = rule.Verbs
		}
	}
	var lines []string
	for key, list := range verbs {
		slices.Sort(list)
		lines = append(lines, key+" "+strings.Join(list, " "))
	}
	slices.Sort(lines)
	return lines
}

// documented is the list of README.md.
func documented(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	m := regexp.MustCompile("(?s)## What the accounts may do\n.*?```\n(.*?)```").FindSubmatch(text)
	require.NotNil(t, m, "README.md has no list of rights")
	lines := strings.Split(strings.TrimSpace(string(m[1])), "\n")
	return lines[1:] // the head
}

// TestRightsAreDocumented: the accounts may do what README.md says and nothing
// else, both as the base binds them and as the chart does.
func TestRightsAreDocumented(t *testing.T) {
	want := documented(t)
	c := kubetest.Start(t)
	c.Apply("base/namespace.yaml")
	for form, objects := range map[string][]*unstructured.Unstructured{"base": kustomize(t, "base"), "helm": rendered(t)} {
		t.Run(form, func(t *testing.T) {
			for _, object := range objects { // in the place of the other form's
				switch object.GetKind() {
				case "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding":
					c.ApplyObjects(object)
				}
			}
			everyone := rights(t, c, "isthmus", "nobody")
			more := func(account string) []string {
				return slices.DeleteFunc(rights(t, c, "isthmus", account), func(line string) bool { return slices.Contains(everyone, line) })
			}
			require.Equal(t, want, more("isthmus-watcher"), "README.md should have:\n%s", strings.Join(more("isthmus-watcher"), "\n"))
			require.Empty(t, more("isthmus-agent"))
		})
	}
}
