package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/test/freeport"
)

// dnsAccount is what Kubernetes gives its CoreDNS.
const dnsAccount = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: coredns, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:coredns"}
rules:
  - {apiGroups: [""], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}
  - {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "system:coredns"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns"}
subjects: [{kind: ServiceAccount, name: coredns, namespace: kube-system}]
`

// testOnlyServer: one process serves the cluster's own names with CoreDNS's
// kubernetes plugin and those of all clusters with ours, each its zones.
func testOnlyServer(t *testing.T, cs *clusterset) {
	w := cs.central.world(t)
	svc := w.service("both", corev1.ServiceTypeClusterIP)
	w.endpoints("both", "10.1.0.21")
	w.annotate("both", "true")

	cs.central.kube.ApplyYAML(dnsAccount)
	kubeconfig := cs.central.kube.WriteKubeconfig(filepath.Join(cs.dir, "central-server-kubeconfig"), cs.central.kube.Token("kube-system", "coredns"))
	address := freeport.Addr(t)
	tls := tlsFiles("central", "agent")
	file := filepath.Join(cs.dir, "central-server-Corefile")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `.:%s {
    bind 127.0.0.1
    root %s
    bufsize 1232
    errors
    kubernetes cluster.local in-addr.arpa {
        kubeconfig %s
        pods insecure
    }
    isthmus global 10.in-addr.arpa {
        watcher %s
        tls %s %s %s
        clusterset %s
        fallthrough 10.in-addr.arpa
    }
}
`, address[strings.LastIndexByte(address, ':')+1:], cs.dir, kubeconfig, cs.central.balancer.addr, tls["cert"], tls["key"], tls["ca"], clustersetName), 0o600))
	server := launch(t, "central-server", cs.dir, nil, "dns", "-conf", file)
	s := &site{name: "central", dns: address}
	for _, q := range []struct {
		name   string
		qtype  uint16
		answer string
	}{
		{"both.shop.svc.cluster.local.", dns.TypeA, svc.Spec.ClusterIP},
		{"both.shop.global.", dns.TypeA, svc.Spec.ClusterIP},
		{"nobody.shop.svc.cluster.local.", dns.TypeA, nxdomain},
		{"nobody.shop.global.", dns.TypeA, nxdomain},
	} {
		require.Eventually(t, func() bool { return s.answer(q.name, q.qtype) == q.answer }, patience, 10*time.Millisecond, "%s: %s", q.name, s.answer(q.name, q.qtype))
	}
	w.deleteService("both")
	require.Eventually(t, func() bool {
		return s.answer("both.shop.svc.cluster.local.", dns.TypeA) == nxdomain && s.answer("both.shop.global.", dns.TypeA) == nxdomain
	}, patience, 10*time.Millisecond)
	require.Zero(t, server.terminate(t))
}
