package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-dns/isthmus/discovery/export"
	"github.com/isthmus-dns/isthmus/test/freeport"
	"github.com/isthmus-dns/isthmus/test/kubetest"
)

// What is made at once, and what it may cost: the bars are for a machine that
// does nothing else.
const (
	manyServices = 2000
	manyPods     = 10 // of each
	manyTime     = 10 * time.Second
	manyOctets   = 300 << 20
)

// TestThousandsAtOnce makes 2,000 Services with 20,000 endpoints as fast as the
// API server takes them, and prints how long after the last of them all are
// published, and what the watcher has taken for it.
func TestThousandsAtOnce(t *testing.T) {
	binary(t)
	s := &site{name: "west", gateway: westGateway, kube: kubetest.Start(t)}
	s.kube.Apply(base("namespace.yaml"), base("rbac.yaml"), filepath.Join(deploy, "crds", "serviceexport.yaml"))
	s.world(t).namespace(shop)
	dir := t.TempDir()
	writePKI(t, dir, "west")
	web := freeport.Addr(t)
	gossip := freeport.Addr(t)
	file := writeWatcher(t, dir, "west", map[string]any{
		"cluster": "west", "locality": "us-west1",
		"source": map[string]any{"kubernetes": map[string]any{"kubeconfig": s.kubeconfig(t, dir)}},
		"gossip": map[string]any{"listen": gossip, "advertise": gossip},
		"tls":    tlsFiles("west", "watcher"), "state": filepath.Join(dir, "state"), "http": web,
	})
	p := launch(t, "west-watcher", dir, []string{"POD_NAME=watcher-0", "POD_NAMESPACE=isthmus"}, "watch", "-c", file)
	require.Eventually(t, func() bool { return code(web, "/readyz") == http.StatusOK }, patience, 20*time.Millisecond, "watcher is ready")

	began := time.Now()
	makeMany(t, s)
	made := time.Now()
	require.Eventually(t, func() bool { return published(web) == manyServices*manyPods }, patience, 20*time.Millisecond, "all endpoints are published")
	took, peak := time.Since(made), peakOctets(t, p.cmd.Process.Pid)
	t.Logf("%d services, %d endpoints made in %v; published %v after the last; watcher's peak %d MiB",
		manyServices, manyServices*manyPods, made.Sub(began).Round(time.Millisecond), took.Round(time.Millisecond), peak>>20)
	require.Less(t, took, manyTime)
	require.Less(t, peak, int64(manyOctets))
}

// makeMany writes everything, 16 requests at a time.
func makeMany(t *testing.T, s *site) {
	t.Helper()
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(16)
	ready, port, portName := true, int32(8080), "http"
	for i := range manyServices {
		g.Go(func() error {
			name := fmt.Sprintf("s-%04d", i)
			_, err := s.kube.Client().CoreV1().Services(shop).Create(ctx, &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: name, Annotations: map[string]string{export.AnnotationExport: "true"}},
				Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: portName, Port: port}}},
			}, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			slice := &discoveryv1.EndpointSlice{
				ObjectMeta:  metav1.ObjectMeta{Namespace: shop, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
				AddressType: discoveryv1.AddressTypeIPv4,
				Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port}},
			}
			for n := range manyPods {
				address := fmt.Sprintf("10.%d.%d.%d", 100+n, i/250, i%250+1)
				slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}})
			}
			_, err = s.kube.Client().DiscoveryV1().EndpointSlices(shop).Create(ctx, slice, metav1.CreateOptions{})
			return err
		})
	}
	require.NoError(t, g.Wait())
}

func code(address, path string) int {
	resp, err := http.Get("http://" + address + path)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// published is how many ready endpoints the watcher's table shows.
func published(address string) (ready uint32) {
	resp, err := http.Get("http://" + address + "/api/v1/services?limit=10000")
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	var page struct {
		Services []struct {
			Clusters []struct {
				Ready uint32 `json:"ready"`
			} `json:"clusters"`
		} `json:"services"`
	}
	if json.NewDecoder(resp.Body).Decode(&page) != nil {
		return 0
	}
	for _, s := range page.Services {
		for _, c := range s.Clusters {
			ready += c.Ready
		}
	}
	return ready
}

// peakOctets is the most memory that a process has had (VmHWM in
// proc_pid_status(5)).
func peakOctets(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("no /proc: ", err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmHWM:" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			require.NoError(t, err)
			return n << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
