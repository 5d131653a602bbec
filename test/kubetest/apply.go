package kubetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
)

// applyTimeout leaves a CRD that was applied before the time to be served.
const applyTimeout = 20 * time.Second

// Apply writes the objects of YAML files to the cluster by server-side apply,
// as `kubectl apply --server-side -f` would. An object without a namespace
// goes to "default" if its kind wants one. A kind that the API server does
// not know yet is waited for, so a CRD may stand before its objects.
func (c *Cluster) Apply(files ...string) {
	c.t.Helper()
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(c.t, err)
		objects, err := Decode(data)
		require.NoError(c.t, err, file)
		c.ApplyObjects(objects...)
	}
}

// ApplyYAML is Apply for text.
func (c *Cluster) ApplyYAML(text string) {
	c.t.Helper()
	objects, err := Decode([]byte(text))
	require.NoError(c.t, err)
	c.ApplyObjects(objects...)
}

// Decode splits YAML into its objects; empty documents are left out.
func Decode(data []byte) ([]*unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("object %d: %w", len(objects)+1, err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// ApplyObjects is Apply for decoded objects, in their order.
func (c *Cluster) ApplyObjects(objects ...*unstructured.Unstructured) {
	c.t.Helper()
	client, err := dynamic.NewForConfig(c.admin)
	require.NoError(c.t, err)
	known, err := discovery.NewDiscoveryClientForConfig(c.admin)
	require.NoError(c.t, err)
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(known))
	for _, object := range objects {
		resource, err := c.resource(client, mapper, object)
		require.NoError(c.t, err)
		_, err = resource.Apply(c.t.Context(), object.GetName(), object,
			metav1.ApplyOptions{FieldManager: "kubetest", Force: true})
		require.NoError(c.t, err, "%s %s", object.GetKind(), object.GetName())
	}
}

// resource is where an object is written to.
func (c *Cluster) resource(client dynamic.Interface, mapper *restmapper.DeferredDiscoveryRESTMapper,
	object *unstructured.Unstructured,
) (dynamic.ResourceInterface, error) {
	kind := object.GroupVersionKind()
	ctx, cancel := context.WithTimeout(c.t.Context(), applyTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	for meta.IsNoMatchError(err) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("kind %v: %w", kind, err)
		}
		mapper.Reset()
		mapping, err = mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("kind %v: %w", kind, err)
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return client.Resource(mapping.Resource), nil
	}
	namespace := object.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return client.Resource(mapping.Resource).Namespace(namespace), nil
}
