package kube

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/tools/cache"

	"github.com/isthmus-dns/isthmus/discovery/export"
)

const (
	fullEntry = `{"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry","metadata":{"namespace":"production","name":"billing","uid":"u",
		"annotations":{"isthmus.dev/check":"tcp","isthmus.dev/export":"true","kubectl.kubernetes.io/last-applied-configuration":"x"},"labels":{"a":"b"},
		"managedFields":[{"manager":"kubectl"}]},
		"spec":{"hosts":["billing.production.global","www.example.com"],"resolution":"STATIC","location":"MESH_INTERNAL",
		"ports":[{"number":80,"name":"http","targetPort":8080}],
		"endpoints":[{"address":"192.0.2.20","weight":4294967295,"locality":"r/z","labels":{"app":"x"},"ports":{"http":9090}}],
		"exportTo":["*"],"addresses":["240.0.0.1"],"subjectAltNames":["x"]},"status":{"conditions":[]}}`
	fullWorkload = `{"apiVersion":"networking.istio.io/v1","kind":"WorkloadEntry","metadata":{"namespace":"production","name":"vm","labels":{"app":"billing"},
		"annotations":{"proxy.istio.io/health-checks-enabled":"true","x":"y"}},
		"spec":{"address":"192.0.2.20","weight":3,"labels":{"v":"1"},"network":"n","serviceAccount":"s"},
		"status":{"conditions":[{"type":"Other","status":"True"},{"type":"Healthy","status":"True","lastProbeTime":"2026-01-01T00:00:00Z"}]}}`
)

func object(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	require.NoError(t, utiljson.Unmarshal([]byte(text), &u.Object)) // numbers as the API server's client reads them
	return u
}

func slimmed[T any](t *testing.T, f cache.TransformFunc, u *unstructured.Unstructured) T {
	t.Helper()
	got, err := f(u)
	require.NoError(t, err)
	typed, ok := got.(T)
	require.True(t, ok)
	return typed
}

// TestSlimEntries: what is cached is what is looked at.
func TestSlimEntries(t *testing.T) {
	o := &export.Options{}
	e := slimmed[*export.ServiceEntry](t, slimEntry(o), object(t, fullEntry))
	require.Equal(t, map[string]string{export.AnnotationCheck: "tcp", export.AnnotationExport: "true"}, e.Annotations)
	require.Empty(t, e.ManagedFields)
	require.Empty(t, e.Labels)
	require.Equal(t, "u", string(e.UID))
	require.Equal(t, export.ServiceEntrySpec{
		Hosts: []string{"billing.production.global"}, Resolution: "STATIC", Location: "MESH_INTERNAL",
		Ports:     []export.EntryPort{{Number: 80, Name: "http", TargetPort: 8080}},
		Endpoints: []export.Workload{{Address: "192.0.2.20", Weight: 4294967295, Locality: "r/z", Ports: map[string]int64{"http": 9090}}},
	}, e.Spec)

	w := slimmed[*export.WorkloadEntry](t, slimWorkload, object(t, fullWorkload))
	require.Equal(t, map[string]string{export.AnnotationHealthChecks: "true"}, w.Annotations)
	require.Equal(t, map[string]string{"app": "billing"}, w.Labels)
	require.Equal(t, export.Workload{Address: "192.0.2.20", Weight: 3, Labels: map[string]string{"v": "1"}}, w.Spec)
	require.Equal(t, []export.Condition{{Type: "Healthy", Status: "True"}}, w.Status.Conditions)

	other := object(t, fullEntry)
	require.NoError(t, unstructured.SetNestedStringSlice(other.Object, []string{"www.example.com"}, "spec", "hosts"))
	unrelated := slimmed[*export.ServiceEntry](t, slimEntry(o), other)
	require.Empty(t, unrelated.Spec)
	require.NotEmpty(t, unrelated.Annotations, "its owner is told that it names no service")
	other.SetAnnotations(map[string]string{"x": "y"})
	require.Empty(t, slimmed[*export.ServiceEntry](t, slimEntry(o), other).Annotations)
}

// FuzzServiceEntry: whatever an API server sends, nothing panics, and a record
// that comes of it is one that others take.
func FuzzServiceEntry(f *testing.F) {
	f.Add(fullEntry, fullWorkload)
	f.Add(`{"spec":{"hosts":"x","ports":[{"number":"80"}]}}`, `{"metadata":7,"spec":[]}`)
	f.Add(`{"metadata":{"namespace":"production","annotations":{"isthmus.dev/export":"true"}},"spec":{"hosts":["billing.production.global"],"workloadSelector":{"labels":{"app":"billing"}},"resolution":"STATIC","ports":[{"number":1.5}]}}`, `{}`)
	f.Fuzz(func(t *testing.T, entry, workload string) {
		o := &export.Options{}
		read := func(text string) *unstructured.Unstructured {
			u := &unstructured.Unstructured{}
			if utiljson.Unmarshal([]byte(text), &u.Object) != nil || u.Object == nil {
				t.Skip()
			}
			return u
		}
		one, err := slimEntry(o)(read(entry))
		require.NoError(t, err)
		two, err := slimWorkload(read(workload))
		require.NoError(t, err)
		e, w := one.(*export.ServiceEntry), two.(*export.WorkloadEntry) //nolint:forcetypeassert // that is what they make
		for _, c := range e.Claims(o) {
			result := export.BuildEntry(export.EntryInput{
				Entries: []*export.ServiceEntry{e}, Service: c.Service,
				Workloads: func() []*export.WorkloadEntry { return []*export.WorkloadEntry{w} }, Opts: *o,
			})
			require.Equal(t, result.Service == nil, result.Reason != "")
			if result.Service != nil {
				require.NoError(t, result.Service.Validate())
			}
		}
	})
}
