package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// TestThreeClusters starts one clusterset for all its subtests; each has
// services of its own. What waits long runs side by side at the end.
func TestThreeClusters(t *testing.T) {
	cs := startClusterset(t)
	// After the watchers have begun, so that they must find it by themselves.
	cs.central.kube.Apply(filepath.Join(deploy, "crds", "serviceexport.yaml"))
	for _, tt := range []struct {
		name string
		test func(*testing.T, *clusterset)
		slow bool
	}{
		{"OneAddressForTwoWatchers", testOneAddress, false},
		{"LocalityComesFromNodes", testLocality, false},
		{"LifeOfAService", testLife, false},
		{"OtherClusterTakesOver", testTakeOver, false},
		{"AgentsCostNoAPI", testAgentsAndAPI, false},
		{"OnlyServerOfACluster", testOnlyServer, false},
		{"WeightedShare", testShare, false},
		{"LeadersKilled", testLeadersKilled, false},
		{"APIServerAway", testAPIServerAway, true},
		{"ServiceExportInstalledLater", testServiceExport, true},
		{"ServiceEntry", testServiceEntry, true},
		{"NoRights", testNoRights, true},
		{"OneNetworkTwice", testOverlap, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.slow {
				t.Parallel()
			}
			tt.test(t, cs)
		})
	}
}

// testLocality: central's configuration names none.
func testLocality(t *testing.T, cs *clusterset) {
	require.Contains(t, cs.west.answer("_clusters.global.", dns.TypeTXT), "us-central1/us-central1-a")
}

// life is a Service of central, how it is exported, and what it gives.
type life struct {
	name      string
	kind      corev1.ServiceType
	endpoints []string
	prepare   func(w world, name string) // what a controller adds; may be nil
	export    func(w world, name string)
	unexport  func(w world, name string)
	away      string // the addresses in the other clusters
	port      int    // there; 0: the node port
}

func annotate(w world, name string) { w.annotate(name, "true") }

func unannotate(w world, name string) { w.annotate(name, "") }

// testLife follows Services with each source of gateways.
func testLife(t *testing.T, cs *clusterset) {
	for _, l := range []life{
		{name: "clusterip", kind: corev1.ServiceTypeClusterIP, endpoints: []string{"10.1.0.1", "10.1.0.2"}, away: centralGateway, port: 15443},
		{
			name: "loadbalancer", kind: corev1.ServiceTypeLoadBalancer, endpoints: []string{"10.1.0.3"},
			prepare: func(w world, name string) { w.balance(name, "198.51.100.77") },
			away:    "198.51.100.77", port: 8080,
		},
		{
			name: "nodeport", kind: corev1.ServiceTypeNodePort, endpoints: []string{"10.1.0.4@node-1", "10.1.0.5@node-2"},
			away: "198.51.100.41 198.51.100.42",
		},
	} {
		l.export, l.unexport = annotate, unannotate
		t.Run(l.name, func(t *testing.T) { l.run(t, cs, patience) })
	}
}

// run takes the Service through its life. The first export may take longer.
func (l life) run(t *testing.T, cs *clusterset, first time.Duration) {
	w := cs.central.world(t)
	name := l.name + ".shop.global."
	svc := w.service(l.name, l.kind)
	w.endpoints(l.name, l.endpoints...)
	if l.prepare != nil {
		l.prepare(w, l.name)
	}
	here := answers{l.away, svc.Spec.ClusterIP, l.away}
	for _, step := range []struct {
		name string
		do   func()
		want answers
	}{
		{"created", func() {}, answers{nxdomain, nxdomain, nxdomain}},
		{"exported", func() { l.export(w, l.name) }, here},
		{"scaled to zero", func() { w.endpoints(l.name) }, answers{nodata, nodata, nodata}},
		{"not ready", func() { w.endpoints(l.name, "-10.1.0.9") }, answers{nodata, nodata, nodata}},
		{"scaled up", func() { w.endpoints(l.name, l.endpoints...) }, here},
		{"unexported", func() { l.unexport(w, l.name) }, answers{nxdomain, nxdomain, nxdomain}},
		{"exported again", func() { l.export(w, l.name) }, here},
	} {
		step.do()
		cs.await(t, name, dns.TypeA, step.want, max(first, patience))
	}
	l.ports(t, cs, svc)
	w.deleteService(l.name)
	cs.await(t, name, dns.TypeA, answers{nxdomain, nxdomain, nxdomain})
}

// ports: elsewhere, SRV records carry the port at the gateway.
func (l life) ports(t *testing.T, cs *clusterset, svc *corev1.Service) {
	t.Helper()
	port := l.port
	if port == 0 {
		port = int(svc.Spec.Ports[0].NodePort)
	}
	target := "central." + l.name + ".shop.global."
	away, own := fmt.Sprintf("%s:%d", target, port), target+":8080"
	cs.await(t, "_http._tcp."+l.name+".shop.global.", dns.TypeSRV, answers{away, own, away})
	cs.await(t, target, dns.TypeA, answers{l.away, svc.Spec.ClusterIP, l.away})
	cs.await(t, l.name+".shop.global.", dns.TypeAAAA, answers{nodata, nodata, nodata})
}

// testServiceExport: the CRD came when the watchers had looked for it already.
func testServiceExport(t *testing.T, cs *clusterset) {
	l := life{
		name: "declared", kind: corev1.ServiceTypeClusterIP, endpoints: []string{"10.1.0.6"},
		export: world.declare, unexport: world.undeclare, away: centralGateway, port: 15443,
	}
	// deploy/README.md promises 30 s.
	l.run(t, cs, 30*time.Second+patience)
}

// testTakeOver: one name in two clusters.
func testTakeOver(t *testing.T, cs *clusterset) {
	const service, name = "cart", "cart.shop.global."
	central, east := cs.central.world(t), cs.east.world(t)
	centralIP := central.service(service, corev1.ServiceTypeClusterIP).Spec.ClusterIP
	eastIP := east.service(service, corev1.ServiceTypeClusterIP).Spec.ClusterIP
	for _, step := range []struct {
		name string
		do   func()
		want answers
	}{
		{
			"one exports", func() { central.endpoints(service, "10.1.0.1"); annotate(central, service) },
			answers{centralGateway, centralIP, centralGateway},
		},
		{
			"the other has no endpoints", func() { annotate(east, service) },
			answers{centralGateway, centralIP, centralGateway},
		},
		{
			"the first is scaled to zero", func() { central.endpoints(service) },
			answers{nodata, nodata, nodata},
		},
		{
			"the other takes over", func() { east.endpoints(service, "10.3.0.1") },
			answers{eastGateway, eastGateway, eastIP},
		},
		{
			"the first is unexported", func() { unannotate(central, service) },
			answers{eastGateway, eastGateway, eastIP},
		},
		{
			"nobody exports", func() { unannotate(east, service) },
			answers{nxdomain, nxdomain, nxdomain},
		},
	} {
		step.do()
		cs.await(t, name, dns.TypeA, step.want)
	}
	central.deleteService(service)
	east.deleteService(service)
}

// testShare: who is in neither cluster gets both, by their ready endpoints.
func testShare(t *testing.T, cs *clusterset) {
	const service, name = "payment", "payment.shop.global."
	central, east := cs.central.world(t), cs.east.world(t)
	central.service(service, corev1.ServiceTypeClusterIP)
	central.endpoints(service, "10.1.1.1", "10.1.1.2", "10.1.1.3", "-10.1.1.4")
	annotate(central, service)
	east.service(service, corev1.ServiceTypeClusterIP)
	east.endpoints(service, "10.3.1.1")
	annotate(east, service)
	const both = "central.payment.shop.global.:15443 east.payment.shop.global.:15443"
	require.Eventually(t, func() bool { return cs.west.answer(name, dns.TypeSRV) == both }, patience, 10*time.Millisecond)

	const queries = 2000
	got := map[string]int{}
	for range queries {
		got[cs.west.answer(name, dns.TypeA)]++
	}
	t.Logf("west was answered %v", got)
	require.Equal(t, queries, got[centralGateway]+got[eastGateway], "anything else is wrong: %v", got)
	require.InDelta(t, 0.75, float64(got[centralGateway])/queries, 0.05)
}
