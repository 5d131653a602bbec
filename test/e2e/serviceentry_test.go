package e2e

import (
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/kubetest"
)

// testServiceEntry: machines outside of Kubernetes, in a cluster that gets
// Istio's kinds while the watchers run. Those of the mesh are behind the
// cluster's gateway for others, as Pods are; what is outside of it is where it
// is for everybody, and each zone's part of it can be asked for.
func testServiceEntry(t *testing.T, cs *clusterset) {
	crds := kubetest.IstioCRDs(t)
	central := cs.central.kube
	central.ApplyObjects(crds...)
	central.ApplyYAML(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ledger, namespace: shop, annotations: {isthmus.dev/export: "true"}}
spec:
  hosts: [ledger.shop.global]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
  workloadSelector: {labels: {app: ledger}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: ledger-1, namespace: shop, labels: {app: ledger}}
spec: {address: 198.51.100.61, locality: us-central1/us-central1-a}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: bank, namespace: shop, annotations: {isthmus.dev/export: "true"}}
spec:
  hosts: [bank.shop.global]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 443, name: https, protocol: TLS}]
  endpoints:
  - {address: 198.51.100.71, locality: us-central1/us-central1-a}
  - {address: 198.51.100.72, locality: us-central1/us-central1-b}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: not-mine, namespace: default, annotations: {isthmus.dev/export: "true"}}
spec:
  hosts: [stolen.shop.global]
  resolution: STATIC
  ports: [{number: 443, name: https, protocol: TLS}]
  endpoints: [{address: 198.51.100.99}]
`)
	const ledger, bank, both = "ledger.shop.global.", "bank.shop.global.", "198.51.100.71 198.51.100.72"
	// deploy/README.md promises 30 s.
	cs.await(t, ledger, dns.TypeA, answers{centralGateway, "198.51.100.61", centralGateway}, 30*time.Second+patience)
	cs.await(t, "_http._tcp."+ledger, dns.TypeSRV, answers{"central." + ledger + ":15443", "central." + ledger + ":8080", "central." + ledger + ":15443"})
	cs.await(t, bank, dns.TypeA, answers{both, both, both})
	cs.await(t, "_https._tcp."+bank, dns.TypeSRV, answers{"central." + bank + ":443", "central." + bank + ":443", "central." + bank + ":443"})
	require.Equal(t, "198.51.100.72", cs.central.answer("us-central1-b.pin._zone."+bank, dns.TypeA))
	cs.await(t, "stolen.shop.global.", dns.TypeA, answers{nxdomain, nxdomain, nxdomain})

	central.ApplyYAML(`
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: ledger-1, namespace: shop, labels: {app: ledger}, annotations: {proxy.istio.io/health-checks-enabled: "true"}}
spec: {address: 198.51.100.61, locality: us-central1/us-central1-a}
`)
	cs.await(t, ledger, dns.TypeA, answers{nodata, nodata, nodata})
}
