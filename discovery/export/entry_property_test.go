package export_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

var anyAddress = rapid.OneOf(anyIP, rapid.SampledFrom([]string{
	"unix:///run/x", "db.example.com", "DB.example.com.", "user.production.global", "localhost", strings.Repeat("h.", 200) + "example.com",
	"169.254.169.254", "168.63.129.16", "198.51.100.1", "198.51.100.2", "198.51.100.3", "64:ff9b::a9fe:a9fe",
}))

func anyWorkload(t *rapid.T) export.Workload {
	w := export.Workload{
		Address:  anyAddress.Draw(t, "address"),
		Labels:   rapid.MapOf(rapid.SampledFrom([]string{"app", "v"}), rapid.SampledFrom([]string{"a", "b"})).Draw(t, "labels"),
		Locality: rapid.SampledFrom([]string{"", "r", "r/z1", "r/z2/s", "/z", "a/b/c/d", "\xff", strings.Repeat("x", 3000)}).Draw(t, "locality"),
		Weight:   rapid.Int64Range(-1, 1<<33).Draw(t, "weight"),
	}
	if rapid.Bool().Draw(t, "ports?") {
		w.Ports = rapid.MapOf(anyName, rapid.Int64Range(-1, 70000)).Draw(t, "ports")
	}
	return w
}

func anyEntry(t *rapid.T, name string) *export.ServiceEntry {
	e := &export.ServiceEntry{ObjectMeta: metav1.ObjectMeta{
		Namespace: rapid.SampledFrom([]string{"production", "production", "shop"}).Draw(t, "namespace"), Name: name,
		CreationTimestamp: metav1.Unix(rapid.Int64Range(0, 2).Draw(t, "age"), 0),
		Annotations: map[string]string{
			export.AnnotationExport: rapid.SampledFrom([]string{"true", "true", "true", "false", "?"}).Draw(t, "export"),
			export.AnnotationCheck:  rapid.SampledFrom([]string{"none", "tcp", "http:a/x", "tls:443", "?"}).Draw(t, "check"),
		},
	}}
	if rapid.IntRange(0, 5).Draw(t, "declared?") == 0 {
		delete(e.Annotations, export.AnnotationExport)
	}
	if rapid.Bool().Draw(t, "gateway?") {
		e.Annotations[export.AnnotationGateway] = strings.Join(rapid.SliceOfN(anyIP, 0, 70).Draw(t, "gateway"), ",")
	}
	e.Spec = export.ServiceEntrySpec{
		Hosts:      rapid.SliceOfN(rapid.SampledFrom([]string{"billing.production.global", "user.shop.global", "x.example.com", "*.global", "\xff.global"}), 0, 4).Draw(t, "hosts"),
		Location:   rapid.SampledFrom([]string{"", "MESH_EXTERNAL", "MESH_INTERNAL", "?"}).Draw(t, "location"),
		Resolution: rapid.SampledFrom([]string{"STATIC", "STATIC", "DNS", "DNS_ROUND_ROBIN", "NONE", ""}).Draw(t, "resolution"),
	}
	for range rapid.IntRange(0, 40).Draw(t, "ports") {
		e.Spec.Ports = append(e.Spec.Ports, export.EntryPort{
			Number: rapid.Int64Range(-1, 70000).Draw(t, "number"), TargetPort: rapid.Int64Range(-1, 70000).Draw(t, "target"),
			Protocol: rapid.SampledFrom([]string{"", "HTTP", "udp", "TCP"}).Draw(t, "protocol"), Name: anyName.Draw(t, "port"),
		})
	}
	for range rapid.IntRange(0, 20).Draw(t, "endpoints") {
		e.Spec.Endpoints = append(e.Spec.Endpoints, anyWorkload(t))
	}
	if rapid.Bool().Draw(t, "selector?") {
		e.Spec.WorkloadSelector = &export.WorkloadSelector{
			Labels: rapid.MapOf(rapid.SampledFrom([]string{"app", "v"}), rapid.SampledFrom([]string{"a", "b"})).Draw(t, "selector"),
		}
	}
	return e
}

// TestAnyServiceEntryGivesAValidRecord: whatever objects say, the record keeps
// the model's bounds, sends nobody where it must not, and does not depend on the
// order of anything; and what is dropped before the cache is not missed.
func TestAnyServiceEntryGivesAValidRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := export.Options{SharesNetwork: rapid.Bool().Draw(t, "shares")}
		in := export.EntryInput{Service: export.Object{Namespace: "production", Name: "billing"}, Opts: o}
		for i := range rapid.IntRange(0, 4).Draw(t, "entries") {
			in.Entries = append(in.Entries, anyEntry(t, fmt.Sprint("e", i)))
		}
		var workloads []*export.WorkloadEntry
		for i := range rapid.IntRange(0, 20).Draw(t, "workloads") {
			w := &export.WorkloadEntry{Spec: anyWorkload(t)}
			w.Namespace, w.Name = "production", fmt.Sprint("w", i)
			w.Status.Conditions = rapid.SampledFrom([][]export.Condition{nil, {{Type: "Healthy", Status: "False"}}, {{Type: "Healthy", Status: "True"}}}).Draw(t, "health")
			workloads = append(workloads, w)
		}
		in.Workloads = func() []*export.WorkloadEntry { return workloads }
		got := export.BuildEntry(in)
		require.Equal(t, got.Service == nil, got.Reason != "")
		require.Equal(t, got.Service == nil, got.Entry == nil)
		require.NotEqual(t, export.ReasonBeyondBounds, got.Reason, got.Problems)

		turned := in
		turned.Entries = slices.Clone(in.Entries)
		slices.Reverse(turned.Entries)
		slices.Reverse(workloads)
		for _, e := range in.Entries {
			e.Bound(&o)
		}
		for _, w := range workloads {
			w.Bound()
		}
		again := export.BuildEntry(turned)
		require.Equal(t, got.Service, again.Service)
		require.Equal(t, got.Check, again.Check)
		require.Equal(t, got.Reason, again.Reason)
		if got.Service == nil {
			return
		}
		s := got.Service
		require.NoError(t, s.Validate())
		require.Equal(t, discovery.MakeKey("production", "billing"), s.Key())
		require.Equal(t, "production", got.Entry.Namespace)
		for _, e := range s.Endpoints {
			require.True(t, discovery.Fit(e.Addr), e.Addr)
		}
		if len(got.Entry.Annotations[export.AnnotationGateway]) == 0 {
			for _, g := range s.Gateways {
				for _, a := range g.Addresses {
					require.True(t, discovery.Fit(a), a)
				}
				require.False(t, strings.HasSuffix(g.Hostname, ".global"), g.Hostname)
			}
		}
		if got.Check != nil {
			require.Len(t, got.Check.Endpoints, addresses(got.Check.Endpoints))
			require.GreaterOrEqual(t, uint32(len(got.Check.Endpoints)), s.Total())
		}
	})
}

// addresses counts the addresses, each once.
func addresses(endpoints []discovery.CheckedEndpoint) int {
	seen := map[string]bool{}
	for _, e := range endpoints {
		seen[e.Addr.String()] = true
	}
	return len(seen)
}
