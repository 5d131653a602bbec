package deploy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"

	"github.com/isthmus-dns/isthmus/test/kubetest"
)

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
	s.judge(t, object)
	require.Empty(t, s.remarks.take(), "%s %s", object.GetKind(), object.GetName())
}

func (s *server) judge(t *testing.T, object *unstructured.Unstructured) {
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
}
