package kube

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-dns/isthmus/discovery"
)

// TestRecordNamesNetworks: in few words, and it is a new record only when they
// change.
func TestRecordNamesNetworks(t *testing.T) {
	w := newWatch(t)
	node := func(name, version string, cidrs ...string) {
		require.NoError(t, w.informers.nodes.GetIndexer().Add(&corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: version}, Spec: corev1.NodeSpec{PodCIDRs: cidrs},
		}))
	}
	node("a", "1", "10.1.0.0/24", "fd00:1::/64")
	node("b", "1", "10.1.1.0/24", "fd00:1:0:1::/64")
	require.Equal(t, "10.1.0.0/23,fd00:1::/63", prefixText(w.clusterRecord().PodCIDRs))
	node("b", "2", "10.1.1.0/24", "fd00:1:0:1::/64")
	require.Nil(t, w.clusterRecord(), "a heartbeat")
	node("c", "1", "10.1.4.0/24")
	require.Equal(t, "10.1.0.0/23,10.1.4.0/24,fd00:1::/63", prefixText(w.clusterRecord().PodCIDRs))

	for i := range 200 { // every other one has gone again
		node(fmt.Sprint("n", i), "1", fmt.Sprintf("10.%d.%d.0/24", 8+i/100, 2*(i%100)))
	}
	record := w.clusterRecord()
	require.NoError(t, record.Validate())
	require.Greater(t, len(w.options.PodCIDRs), discovery.MaxCIDRs, "what is refused is known in full")
	require.NotEmpty(t, record.PodCIDRs)
	for _, p := range w.options.PodCIDRs {
		require.True(t, slices.ContainsFunc(record.PodCIDRs, func(wide netip.Prefix) bool { return wide.Contains(p.Addr()) }), p)
	}
	for _, p := range record.PodCIDRs {
		require.True(t, slices.ContainsFunc(w.options.PodCIDRs, p.Overlaps), "%s is not another's", p)
	}
}
