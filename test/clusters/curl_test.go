package clusters

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// testCurl: a Pod in the first cluster reaches the second one's Services, by
// their names and each kind of gateway, and never one of its Pods.
func testCurl(t *testing.T, f *fleet) {
	here, there := f.clusters[0], f.clusters[1]
	t.Run("AsInTheManual", func(t *testing.T) { testManual(t, f) })
	// What a Pod gets from the kubelet: the search list, and ndots.
	conf, err := here.exec("cat /etc/resolv.conf")
	require.NoError(t, err)
	require.Contains(t, conf, "search demo.svc.cluster.local")
	require.Contains(t, conf, "ndots:5")

	theirs := "Name: " + there.name
	t.Run("LoadBalancer", func(t *testing.T) {
		here.curls(t, "http://echo.demo.global", theirs)
	})
	t.Run("NodePort", func(t *testing.T) {
		out, err := here.exec("dig +short SRV _http._tcp.node-" + there.name + ".demo.global.")
		require.NoError(t, err)
		fields := strings.Fields(out) // priority, weight, port, target
		require.Len(t, fields, 4, out)
		require.Equal(t, fmt.Sprint(there.service(t, "demo", "node-"+there.name).Spec.Ports[0].NodePort), fields[2])
		here.curls(t, fmt.Sprintf("http://%s:%s", strings.TrimSuffix(fields[3], "."), fields[2]), theirs)
	})
	t.Run("Gateway", func(t *testing.T) {
		body := here.curls(t, fmt.Sprintf("http://plain-%s.demo.global", there.name), theirs)
		require.Contains(t, body, fmt.Sprintf("Gateway: %q", there.name))
	})
	t.Run("PodsOutOfReach", func(t *testing.T) {
		if f.rig == "" {
			t.Skip("other clusters may well share a network")
		}
		pods, err := there.pods(t.Context(), "demo", "app in (echo, echo-everywhere)")
		require.NoError(t, err)
		require.NotEmpty(t, pods)
		for _, pod := range pods {
			// The address may be one of our own Pods'.
			body, _ := here.exec(fmt.Sprintf("curl -sS --max-time 1 http://%s:8080", pod.Status.PodIP))
			require.NotContains(t, body, theirs)
		}
	})
	t.Run("OwnPodsFirst", func(t *testing.T) { testOwnPodsFirst(t, f) })
}

// testManual types what the manual has of the first curl.
func testManual(t *testing.T, f *fleet) {
	here, there := f.clusters[0], f.clusters[1]
	lines := f.manual.commands(t, "### The first curl")
	require.Len(t, lines, 3)
	serve, curl, explain := lines[0], lines[1], lines[2]
	require.NoError(t, f.types(there, serve))
	there.rolledOut(t, "demo", "deployment/echo")
	// The rig's image begins with a shell, not with curl.
	curl = replace(t, curl, "--image=curlimages/curl:8.10.1 --", "--image="+f.images.tools+" --command -- curl")
	await(t, 30*time.Second, func() error {
		// A Pod that ends while kubectl attaches leaves it without output.
		out, err := here.shell("", curl, "")
		if err == nil && !strings.Contains(out, "Name: "+there.name) {
			err = fmt.Errorf("%s: got %q", curl, out)
		}
		return err
	})
	out, err := here.shell("", explain, "")
	require.NoError(t, err)
	require.Contains(t, out, there.name)
}

// testOwnPodsFirst: what the own cluster has it answers itself, and another one
// only while it has no Pods.
func testOwnPodsFirst(t *testing.T, f *fleet) {
	here, there := f.clusters[0], f.clusters[1]
	require.NoError(t, f.types(here, "kubectl apply -f examples/echo.yaml"))
	for _, step := range []struct {
		replicas int
		right    *cluster
	}{{1, here}, {0, there}, {1, here}} {
		began := time.Now()
		here.kubectl(t, fmt.Sprintf("-n demo scale deployment echo --replicas=%d", step.replicas))
		if step.replicas > 0 { // which takes Kubernetes some time
			here.rolledOut(t, "demo", "deployment/echo")
			began = time.Now()
		}
		here.curls(t, "http://echo.demo.global", "Name: "+step.right.name)
		took := time.Since(began)
		t.Logf("%d Pods here: %s answers after %.1f s", step.replicas, step.right.name, took.Seconds())
		// Two seconds, and the TTL that a program may keep an address for. curl
		// keeps none, so this leaves the machine time for starting kubectl.
		require.Less(t, took, 7*time.Second)
	}
}

// curls has the client of a cluster get a URL until the answer has the text,
// and returns it.
func (c *cluster) curls(t testing.TB, url, want string) (body string) {
	t.Helper()
	await(t, 30*time.Second, func() error {
		var err error
		body, err = c.exec("curl -sS --max-time 2 " + url)
		if err == nil && !strings.Contains(body, want) {
			err = fmt.Errorf("%s in %s: got %q, want %q", url, c.name, body, want)
		}
		return err
	})
	return body
}
