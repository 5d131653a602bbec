package manifest

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/discovery"
)

// TestRefresh: the cluster's record is made anew when it is asked for, goes out
// when it has changed, and takes nothing along, also while the directory is
// lost.
func TestRefresh(t *testing.T) {
	r, dir, updates := byHand(t)
	network := "a"
	r.part.cluster = func([]*corev1.Node) *discovery.Cluster { return &discovery.Cluster{Name: "west", Network: network} }
	record := func(network string) discovery.Update {
		return discovery.Update{Cluster: &discovery.Cluster{Name: "west", Network: network}}
	}
	r.publishCluster()
	require.Equal(t, record("a"), (*updates)[1])
	r.publishCluster()
	require.Len(t, *updates, 2, "nothing changed")

	require.NoError(t, os.RemoveAll(dir))
	r.tick(time.Now().Add(time.Hour))
	require.Nil(t, r.watch)
	network = "b"
	r.publishCluster()
	require.Equal(t, record("b"), (*updates)[2])

	r.started = false
	network = "c"
	r.publishCluster()
	require.Len(t, *updates, 3, "the first update is whole")
}
