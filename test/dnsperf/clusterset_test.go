//go:build linux

package dnsperf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip/trust"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

const (
	clusterset = "perf"
	// services is what a large cluster exports; both servers' tables fit into
	// a processor's second-level cache no more.
	services = 1000
	teams    = 10
	// gateway answers for all of them: one address, as hosts has one.
	gateway = "192.0.2.10"
)

// qname is the name of a service, without the trailing dot.
func qname(i int) string {
	return fmt.Sprintf("service-%04d.team-%d.global", i, i%teams)
}

// startClusterset runs the watchers of two clusters: east, which has the
// services, and west, whose agents ask for them. It returns the address of
// west's watcher; the certificates lie in dir.
func startClusterset(tb testing.TB, dir, program string) string {
	writePKI(tb, dir)
	writeManifests(tb, filepath.Join(dir, "east"))
	require.NoError(tb, os.Mkdir(filepath.Join(dir, "west"), 0o755))
	west, east := "127.0.0.1:"+freeport.Port(tb), "127.0.0.1:"+freeport.Port(tb)
	startWatcher(tb, dir, program, "west", "us-west1/us-west1-a", west, east)
	startWatcher(tb, dir, program, "east", "us-east1/us-east1-b", east, west)
	return west
}

const watcherYAML = `clusterset: %[1]s
cluster: %[2]s
locality: %[3]s
source:
  manifests: {dir: %[2]s}
gateways:
  - {name: default, addresses: [%[4]s], port: 15443, check: {type: none}}
gossip: {listen: %[5]q, advertise: %[5]q, join: [%[6]q]}
tls: {cert: %[2]s-watcher.crt, key: %[2]s-watcher.key, ca: ca.crt}
state: state-%[2]s
http: 127.0.0.1:%[7]s
`

func startWatcher(tb testing.TB, dir, program, cluster, locality, listen, join string) {
	config := fmt.Sprintf(watcherYAML, clusterset, cluster, locality, gateway, listen, join, freeport.Port(tb))
	file := filepath.Join(dir, cluster+"-watcher.yaml")
	require.NoError(tb, os.WriteFile(file, []byte(config), 0o600))
	start(tb, dir, "watch-"+cluster, nil, program, "watch", "-c", file)
}

func writePKI(tb testing.TB, dir string) {
	authority, err := trust.NewAuthority(clusterset)
	require.NoError(tb, err)
	write := func(name string, data []byte) {
		require.NoError(tb, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	write("ca.crt", authority.CertPEM())
	for _, id := range []trust.ID{
		{Clusterset: clusterset, Cluster: "west", Role: trust.Watcher},
		{Clusterset: clusterset, Cluster: "west", Role: trust.Agent},
		{Clusterset: clusterset, Cluster: "east", Role: trust.Watcher},
	} {
		cert, key, err := authority.Issue(id, 24*time.Hour)
		require.NoError(tb, err)
		name := id.Cluster + "-" + string(id.Role)
		write(name+".crt", cert)
		write(name+".key", key)
	}
}

const serviceYAML = `---
apiVersion: v1
kind: Service
metadata: {namespace: team-%[2]d, name: service-%04[1]d, annotations: {isthmus.dev/export: "true"}}
spec: {clusterIP: 10.3.%[3]d.%[4]d, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: team-%[2]d, name: service-%04[1]d-1, labels: {kubernetes.io/service-name: service-%04[1]d}}
addressType: IPv4
ports: [{name: http, port: 80}]
endpoints:
  - {addresses: [10.4.%[3]d.%[4]d], zone: us-east1-b, conditions: {ready: true}}
  - {addresses: [10.5.%[3]d.%[4]d], zone: us-east1-b, conditions: {ready: true}}
`

// writeManifests writes a file a namespace.
func writeManifests(tb testing.TB, dir string) {
	require.NoError(tb, os.Mkdir(dir, 0o755))
	var files [teams]strings.Builder
	for i := range services {
		fmt.Fprintf(&files[i%teams], serviceYAML, i, i%teams, i/250, i%250+1)
	}
	for team := range files {
		name := filepath.Join(dir, fmt.Sprintf("team-%d.yaml", team))
		require.NoError(tb, os.WriteFile(name, []byte(files[team].String()), 0o600))
	}
}
