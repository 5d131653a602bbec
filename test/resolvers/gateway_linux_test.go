package resolvers

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

// balanced is a Service of east to which its cloud has given a host name.
const balanced = `apiVersion: v1
kind: Service
metadata: {namespace: production, name: balanced, annotations: {isthmus.dev/export: "true"}}
spec: {type: LoadBalancer, clusterIP: 10.97.0.1, ports: [{name: http, port: 8080}]}
status: {loadBalancer: {ingress: [{hostname: lb.cloud.example}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: production, name: balanced-1, labels: {kubernetes.io/service-name: balanced}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.245.0.1], conditions: {ready: true}}]
`

// TestGatewayHostName: the agent finds the addresses of a gateway's host name
// by the machine's resolv.conf and follows them on the TTL of the CNAME that
// leads to them. What the DNS denies stays for a while.
func TestGatewayHostName(t *testing.T) {
	needNamespace(t)
	west, east, _ := startAgent(t)
	require.NoError(t, cluster.Replace(filepath.Join(east.Dir, "manifests", "balanced.yaml"), balanced))
	const name = "balanced.production.global."
	west.Answers(name, "A", "198.51.100.1 198.51.100.2")
	west.Answers(name, "AAAA", "2001:db8::1")
	writeCloud(t, west, 2, "lb 5 IN CNAME lb2", "lb2 3600 IN A 198.51.100.3")
	west.Answers(name, "A", "198.51.100.3")
	west.Answers(name, "AAAA", "NODATA")
	writeCloud(t, west, 3, "lb 5 IN A 198.51.100.4")
	west.Answers(name, "A", "198.51.100.4")
	writeCloud(t, west, 4)
	west.Agent.Logged("gateway host name not resolved", "lb.cloud.example")
	west.Answers(name, "A", "198.51.100.4")
}
