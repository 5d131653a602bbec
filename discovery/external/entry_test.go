package external_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// TestMachinesOfAServiceEntry: they are checked like those of a Service, and one
// that Istio calls unhealthy is not ready whatever a check says.
func TestMachinesOfAServiceEntry(t *testing.T) {
	e := &export.ServiceEntry{Spec: export.ServiceEntrySpec{
		Hosts: []string{"db.vms.global"}, Location: "MESH_INTERNAL", Resolution: "STATIC",
		Ports:            []export.EntryPort{{Number: 5432, Name: "sql"}},
		WorkloadSelector: &export.WorkloadSelector{Labels: map[string]string{"app": "db"}},
	}}
	e.Namespace, e.Name = "vms", "db"
	e.Annotations = map[string]string{export.AnnotationExport: "true", export.AnnotationCheck: "tcp"}
	var workloads []*export.WorkloadEntry
	for i, zone := range []string{"a", "a", "b"} {
		w := &export.WorkloadEntry{Spec: export.Workload{Address: addr(i).String(), Locality: "r/" + zone}}
		w.Namespace, w.Labels = "vms", map[string]string{"app": "db"}
		workloads = append(workloads, w)
	}
	workloads[1].Status.Conditions = []export.Condition{{Type: "Healthy", Status: "False"}}
	result := export.BuildEntry(export.EntryInput{
		Entries: []*export.ServiceEntry{e}, Service: export.Object{Namespace: "vms", Name: "db"},
		Workloads: func() []*export.WorkloadEntry { return workloads },
	})
	require.NotNil(t, result.Service, result.Problems)

	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.Update(whole(result.Service, result.Check))
		defer s.lead(t)()
		time.Sleep(time.Minute)
		s.requires(t, "2/3")
		s.kill(addr(2))
		time.Sleep(bound())
		s.requires(t, "1/3")
		got := s.record()
		require.Equal(t, discovery.KindExternal, got.Kind)
		require.Equal(t, []discovery.ZoneCount{{Zone: "a", Ready: 1, Total: 2}, {Zone: "b", Total: 1}}, got.Counts)
		require.Equal(t, []bool{true, false, false}, []bool{got.Endpoints[0].Ready, got.Endpoints[1].Ready, got.Endpoints[2].Ready})
	})
}
