package manifest_test

import (
	"fmt"
	"strings"
)

// serviceYAML is an exported Service of namespace production.
func serviceYAML(name string, extra ...string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata:
  name: %s
  namespace: production
  annotations:
    isthmus.dev/export: "true"
spec:
  clusterIP: 10.96.0.7
  ports:
    - {name: http, port: 80}
%s`, name, strings.Join(extra, ""))
}

// sliceYAML is an EndpointSlice with so many ready endpoints.
func sliceYAML(service string, ready int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: %[1]s-1
  namespace: production
  labels: {kubernetes.io/service-name: %[1]s}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
`, service)
	for i := range ready {
		fmt.Fprintf(&b, "  - {addresses: [10.1.0.%d], nodeName: node-1, zone: west-a}\n", i+1)
	}
	return b.String()
}

func nodeYAML(name, ip, zone string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Node
metadata:
  name: %s
  labels: {topology.kubernetes.io/region: west, topology.kubernetes.io/zone: %s}
status:
  addresses: [{type: InternalIP, address: %s}]
  conditions: [{type: Ready, status: "True"}]
`, name, zone, ip)
}

// docs joins documents to one file.
func docs(documents ...string) string { return strings.Join(documents, "---\n") }
