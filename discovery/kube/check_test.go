package kube

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/isthmus-dns/isthmus/discovery/export"
)

// TestTransformsKeepTheCheck: a check is the same after the transforms, and so is
// the remark that a Service with a selector has no use for one.
func TestTransformsKeepTheCheck(t *testing.T) {
	for name, selector := range map[string]map[string]string{"no selector": nil, "selector": {"app": "user"}} {
		t.Run(name, func(t *testing.T) {
			svc := func() *corev1.Service {
				s := fullService(corev1.ServiceTypeClusterIP)
				s.Annotations[export.AnnotationCheck] = "http/healthz"
				s.Spec.PublishNotReadyAddresses = false
				s.Spec.Selector = selector
				return s
			}
			want := export.Build(export.Input{Service: svc(), Slices: []*discoveryv1.EndpointSlice{fullSlice()}})
			require.Equal(t, selector == nil, want.Check != nil)
			require.Equal(t, selector == nil, len(want.Problems) == 0)
			got := export.Build(export.Input{
				Service: trim(t, trimService, svc()), Slices: []*discoveryv1.EndpointSlice{trim(t, trimSlice, fullSlice())},
			})
			require.Equal(t, want, got)
		})
	}
}
