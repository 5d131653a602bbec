package e2e

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-dns/isthmus/test/freeport"
)

// testOverlap: two clusters claim one network, and the nodes of one have a part
// of the other's Pod network. Both watchers say so until one claims another.
func testOverlap(t *testing.T, cs *clusterset) {
	// A clusterset of their own on the API servers of two of the three.
	dir := t.TempDir()
	writePKI(t, dir, "near", "far")
	near, far := &watcher{gossip: freeport.Addr(t), http: freeport.Addr(t)}, &watcher{gossip: freeport.Addr(t), http: freeport.Addr(t)}
	configure := func(s *site, name, network string, w, other *watcher) (file string) {
		return writeWatcher(t, dir, name+"-watcher", map[string]any{
			"cluster": name, "network": network,
			"source": map[string]any{"kubernetes": map[string]any{
				"kubeconfig": s.kube.WriteKubeconfig(filepath.Join(dir, name+"-kubeconfig"), s.kube.Token("overlap", "isthmus-watcher")),
			}},
			"gossip": map[string]any{"listen": w.gossip, "advertise": w.gossip, "join": []string{other.gossip}},
			"tls":    tlsFiles(name, "watcher"), "state": filepath.Join(dir, name), "http": w.http,
		})
	}
	start := func(s *site, name string, podCIDR string, w, other *watcher) {
		s.world(t).namespace("overlap")
		s.kube.ApplyObjects(rights(t, "overlap")...)
		s.world(t).podNode("pods", podCIDR)
		w.process = launch(t, name+"-watcher", dir, []string{"POD_NAME=watcher-0", "POD_NAMESPACE=overlap"}, "watch", "-c", configure(s, name, "vpc-1", w, other))
	}
	start(cs.central, "near", "10.244.0.0/16", near, far)
	start(cs.east, "far", "10.244.7.0/24", far, near)

	want := `{"pairs":1,"listed":[{"network":"vpc-1","claims":[` +
		`{"cluster":"far","use":"pods","prefix":"10.244.7.0/24"},{"cluster":"near","use":"pods","prefix":"10.244.0.0/16"}]}]}`
	message := []string{
		"clusters of one network use the same addresses, names may lead to wrong Pods",
		`"network":"vpc-1"`, `"far (Pods 10.244.7.0/24)"`, `"near (Pods 10.244.0.0/16)"`,
	}
	for _, w := range []*watcher{near, far} {
		require.Eventually(t, func() bool { return w.overlaps() == want && w.overlapMetric() == "1" }, 2*patience, 50*time.Millisecond, "%s: %s", w.name, w.overlaps())
		require.Eventually(t, func() bool { return w.logged(message...) }, patience, 50*time.Millisecond, w.name)
	}

	require.Zero(t, far.terminate(t))
	configure(cs.east, "far", "vpc-2", far, near)
	far.start(t)
	require.Eventually(t, func() bool { return near.overlaps() == "" && near.overlapMetric() == "0" }, 2*patience, 50*time.Millisecond, "%s", near.overlaps())
	require.Eventually(t, func() bool {
		return near.logged("clusters of one network use the same addresses no more", `"network":"vpc-1"`)
	}, patience, 50*time.Millisecond)
	require.Eventually(t, func() bool { return far.ready() && far.overlaps() == "" && far.overlapMetric() == "0" }, patience, 50*time.Millisecond)
	for _, w := range []*watcher{near, far} {
		require.Zero(t, w.terminate(t))
	}
}

// podNode writes a node that has a part of the Pod network.
func (w world) podNode(name, cidr string) {
	w.t.Helper()
	_, err := w.c.CoreV1().Nodes().Create(w.t.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDR: cidr, PodCIDRs: []string{cidr}},
	}, metav1.CreateOptions{})
	require.NoError(w.t, err)
}

// overlaps is what the watcher's status says of them, "" for nothing.
func (w *watcher) overlaps() string {
	var s struct{ Overlaps json.RawMessage }
	if err := json.Unmarshal(w.get("/api/v1/status"), &s); err != nil {
		return err.Error()
	}
	return string(s.Overlaps)
}

// overlapMetric is what Prometheus reads.
func (w *watcher) overlapMetric() string {
	m := regexp.MustCompile(`(?m)^isthmus_network_overlaps (\S+)$`).FindSubmatch(w.get("/metrics"))
	if m == nil {
		return ""
	}
	return string(m[1])
}
