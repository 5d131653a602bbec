package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/isthmus-dns/isthmus/test/freeport"
	"github.com/isthmus-dns/isthmus/test/kubetest"
)

// testLeadersKilled: of each cluster's two watchers, the one that publishes
// dies, all at once.
func testLeadersKilled(t *testing.T, cs *clusterset) {
	var leaders, others []*watcher
	var begin, end []func()
	for i, s := range cs.sites {
		service := "stock-" + s.name
		name, w := service+".shop.global.", s.world(t)
		own := w.service(service, corev1.ServiceTypeLoadBalancer).Spec.ClusterIP
		w.endpoints(service, "10.3.2.1")
		// to moves the service to another gateway.
		to := func(gateway string) (is answers) {
			w.balance(service, gateway)
			for n := range is {
				is[n] = gateway
			}
			is[i] = own
			return is
		}
		before := to("203.0.113.81")
		annotate(w, service)
		cs.await(t, name, dns.TypeA, before)
		leader, other := s.leader(t)
		leaders, others = append(leaders, leader), append(others, other)
		moved := before
		for n := range moved {
			if n != i {
				moved[n] = "203.0.113.82"
			}
		}
		end = append(end, cs.watch(t, name, before, moved))
		begin = append(begin, func() { cs.await(t, name, dns.TypeA, to("203.0.113.82"), 15*time.Second) })
	}
	for _, leader := range leaders {
		leader.kill()
	}
	killed := time.Now()
	for i, await := range begin {
		await()
		t.Logf("a change in %s made when the leaders were killed arrived %v later", cs.sites[i].name, time.Since(killed))
	}
	for i, other := range others {
		require.True(t, other.leads(), "%s publishes now", other.name)
		end[i]()
	}
	// Back again, they follow.
	for i, leader := range leaders {
		leader.start(t)
		require.Eventually(t, leader.ready, patience, 20*time.Millisecond)
		require.False(t, leader.leads())
		require.True(t, others[i].leads())
	}
	cs.meet(t)
}

// leader waits until one of the site's two watchers publishes.
func (s *site) leader(t *testing.T) (leader, other *watcher) {
	t.Helper()
	require.Eventually(t, func() bool {
		i := slices.IndexFunc(s.watchers[:], (*watcher).leads)
		if i < 0 {
			return false
		}
		leader, other = s.watchers[i], s.watchers[1-i]
		return !other.leads()
	}, patience, 20*time.Millisecond, "one watcher of %s publishes", s.name)
	return leader, other
}

// outage is how long the API server is away: far longer than a Lease lasts, so
// the leader stands down.
const outage = 20 * time.Second

// testAPIServerAway: west's API server is away for a while, and meanwhile its
// watcher is restarted.
func testAPIServerAway(t *testing.T, cs *clusterset) {
	const service, name = "orders", "orders.shop.global."
	west := cs.west.world(t)
	own := west.service(service, corev1.ServiceTypeLoadBalancer).Spec.ClusterIP
	west.endpoints(service, "10.2.0.1")
	west.balance(service, "192.0.2.81")
	annotate(west, service)
	before, after := answers{own, "192.0.2.81", "192.0.2.81"}, answers{own, "192.0.2.82", "192.0.2.82"}
	cs.await(t, name, dns.TypeA, before)

	end := cs.watch(t, name, before, after)
	away := time.After(outage)
	cs.west.kube.StopAPI()
	w := cs.west.watchers[0]
	require.Eventually(t, func() bool { return w.status() == status{Ready: true} }, patience, 50*time.Millisecond, "no Lease, no publisher")
	// It learns its own cluster's part from the other clusters.
	require.Zero(t, w.terminate(t))
	w.start(t)
	require.Eventually(t, w.ready, patience, 50*time.Millisecond)
	<-away
	cs.west.kube.StartAPI()
	back := time.Now()
	west.balance(service, "192.0.2.82")
	cs.await(t, name, dns.TypeA, after, time.Minute)
	t.Logf("a change made when the API server was back arrived %v later", time.Since(back))
	end()
}

// testNoRights: a watcher without the rights of deploy/base/rbac.yaml says
// which are missing, goes on trying, and needs no restart when it gets them.
func testNoRights(t *testing.T, cs *clusterset) {
	dir := t.TempDir()
	w := cs.central.world(t)
	w.namespace("bare")
	admin := cs.central.kube
	objects := rights(t, "bare")
	for _, object := range objects {
		if object.GetKind() == "ServiceAccount" {
			admin.ApplyObjects(object)
		}
	}
	// A clusterset of its own, as it would publish central's services.
	writePKI(t, dir, "bare")
	lone := &watcher{gossip: freeport.Addr(t), http: freeport.Addr(t)}
	file := writeWatcher(t, dir, "bare-watcher", map[string]any{
		"cluster": "bare",
		"source": map[string]any{"kubernetes": map[string]any{
			"kubeconfig": admin.WriteKubeconfig(filepath.Join(dir, "kubeconfig"), admin.Token("bare", "isthmus-watcher")),
		}},
		"gossip": map[string]any{"listen": lone.gossip, "advertise": lone.gossip},
		"tls":    tlsFiles("bare", "watcher"), "state": filepath.Join(dir, "state"), "http": lone.http,
	})
	lone.process = launch(t, "bare-watcher", dir, []string{"POD_NAME=watcher-0", "POD_NAMESPACE=bare"}, "watch", "-c", file)

	account := `User \"system:serviceaccount:bare:isthmus-watcher\"`
	for _, missing := range []string{
		`cannot list resource \"services\"`, `cannot list resource \"endpointslices\"`, `cannot list resource \"nodes\"`,
		`cannot get resource \"namespaces\"`, `cannot get resource \"leases\"`,
	} {
		require.Eventually(t, func() bool { return lone.logged(account, missing) }, patience, 50*time.Millisecond, missing)
	}
	require.True(t, lone.alive(), "it goes on trying")
	require.False(t, lone.ready())

	admin.ApplyObjects(objects...)
	require.Eventually(t, func() bool { return lone.leads() && lone.ready() }, 2*patience, 50*time.Millisecond, "it publishes")
	require.Zero(t, lone.terminate(t))
}

// rights are the objects of deploy/base/rbac.yaml in another namespace.
func rights(t *testing.T, namespace string) []*unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(base("rbac.yaml"))
	require.NoError(t, err)
	objects, err := kubetest.Decode([]byte(strings.ReplaceAll(string(text), "namespace: isthmus", "namespace: "+namespace)))
	require.NoError(t, err)
	for _, o := range objects {
		if o.GetKind() == "ClusterRoleBinding" {
			o.SetName("isthmus-watcher-" + namespace) // the cluster's own stays
		}
	}
	return objects
}
