package cluster

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"

	"github.com/stretchr/testify/require"
)

// Service is an exported service with its endpoints, as one manifest.
type Service struct {
	Namespace, Name string
	Ready, NotReady int // endpoints
}

// YAML is the manifest of the service in a cluster: a Service and an
// EndpointSlice.
func (s Service) YAML(c *Cluster) string {
	var b strings.Builder
	fmt.Fprintf(&b, serviceYAML, s.Namespace, s.Name, c.ClusterIP(s.Name))
	if s.Ready+s.NotReady == 0 {
		b.WriteString("endpoints: []\n")
		return b.String()
	}
	b.WriteString("endpoints:\n")
	for i := range s.Ready + s.NotReady {
		fmt.Fprintf(&b, "  - {addresses: [10.%d.128.%d], conditions: {ready: %t}}\n", c.index, i+1, i < s.Ready)
	}
	return b.String()
}

const serviceYAML = `apiVersion: v1
kind: Service
metadata:
  namespace: %[1]s
  name: %[2]s
  annotations:
    isthmus.dev/export: "true"
spec:
  clusterIP: %[3]s
  ports:
    - {name: http, port: 8080}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  namespace: %[1]s
  name: %[2]s-1
  labels:
    kubernetes.io/service-name: %[2]s
addressType: IPv4
ports:
  - {name: http, port: 8080}
`

// ClusterIP is the address of a service inside the cluster: always the same
// for a name.
func (c *Cluster) ClusterIP(service string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(service)) // never fails
	sum := h.Sum32()
	return fmt.Sprintf("10.%d.%d.%d", c.index, sum>>8&0x7f, sum&0xff)
}

// File is where a service's manifest lies.
func (c *Cluster) File(s Service) string {
	return filepath.Join(c.Dir, "manifests", s.Namespace+"-"+s.Name+".yaml")
}

// Export writes a service's manifest, in place of an earlier one.
func (c *Cluster) Export(s Service) {
	c.t.Helper()
	require.NoError(c.t, Replace(c.File(s), s.YAML(c)))
}

// Unexport removes a service's manifest.
func (c *Cluster) Unexport(s Service) {
	c.t.Helper()
	require.NoError(c.t, os.Remove(c.File(s)))
}

// Replace writes a file under another name and renames it into place, as
// editors, kubelet and careful scripts do. The other name is no manifest's.
func Replace(file, text string) error {
	if err := os.WriteFile(file+".tmp", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".tmp", file)
}
