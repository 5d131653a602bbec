package kubetest_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/isthmus-dns/isthmus/test/kubetest"
)

const account = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: shop}
`

func TestClusterKnowsItsUsers(t *testing.T) {
	c := kubetest.Start(t)
	c.ApplyYAML(account)
	for name, config := range map[string]func() (*kubernetes.Clientset, error){
		"certificate": func() (*kubernetes.Clientset, error) {
			return kubernetes.NewForConfig(c.ServiceAccount("shop", "reader"))
		},
		"token": func() (*kubernetes.Clientset, error) { return kubernetes.NewForConfig(c.Token("shop", "reader")) },
	} {
		t.Run(name, func(t *testing.T) {
			client, err := config()
			require.NoError(t, err)
			review, err := client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authv1.SelfSubjectReview{}, metav1.CreateOptions{})
			require.NoError(t, err)
			require.Equal(t, "system:serviceaccount:shop:reader", review.Status.UserInfo.Username)
			require.ElementsMatch(t, review.Status.UserInfo.Groups,
				[]string{"system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"})
			_, err = client.CoreV1().Services("shop").List(t.Context(), metav1.ListOptions{})
			require.True(t, apierrors.IsForbidden(err), "an account without a role reads nothing: %v", err)
		})
	}
}

func TestClusterKeepsDataOverAPIRestart(t *testing.T) {
	c := kubetest.Start(t)
	c.ApplyYAML(account)
	c.StopAPI()
	_, err := c.Client().CoreV1().Namespaces().Get(t.Context(), "shop", metav1.GetOptions{})
	require.Error(t, err)
	c.StartAPI()
	_, err = c.Client().CoreV1().Namespaces().Get(t.Context(), "shop", metav1.GetOptions{})
	require.NoError(t, err)
}

// TestClusterGoesBackToABackup: what was there at the backup is there, and
// nothing else; the API server's address and credentials stay.
func TestClusterGoesBackToABackup(t *testing.T) {
	c := kubetest.Start(t)
	namespaces := c.Client().CoreV1().Namespaces()
	c.ApplyYAML(account)
	old, err := namespaces.Get(t.Context(), "shop", metav1.GetOptions{})
	require.NoError(t, err)
	b := c.Backup()
	c.ApplyYAML(strings.ReplaceAll(account, "shop", "later"))
	c.Restore(b)
	got, err := namespaces.Get(t.Context(), "shop", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, old.UID, got.UID)
	_, err = namespaces.Get(t.Context(), "later", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)
}

func TestClustersAreApart(t *testing.T) {
	clusters := kubetest.StartAll(t, 2)
	clusters[0].ApplyYAML(account)
	_, err := clusters[1].Client().CoreV1().Namespaces().Get(t.Context(), "shop", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)
}

func TestApplyWaitsForCRD(t *testing.T) {
	c := kubetest.Start(t)
	c.Apply(filepath.Join("..", "..", "deploy", "crds", "serviceexport.yaml"))
	for _, version := range []string{"v1alpha1", "v1beta1"} {
		c.ApplyYAML(`
apiVersion: multicluster.x-k8s.io/` + version + `
kind: ServiceExport
metadata: {name: ` + version + `}
`)
	}
}
