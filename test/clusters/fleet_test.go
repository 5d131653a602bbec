package clusters

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// names of the clusters, in the rig's order.
var names = []string{"west", "east", "central", "north", "south"}

// nodes of each of the rig's clusters: what happens to one must not matter to
// the other.
const nodes = 2

// fleet is all clusters of the clusterset, and where the administrator sits.
type fleet struct {
	rig      rig    // "" where the clusters are others'
	dir      string // the administrator's: pki, overlays
	images   images
	manual   manual
	steps    steps
	settings map[*cluster]string // the manual's line that says which cluster this is
	clusters []*cluster
	began    time.Time
	kept     bool // they run since a test before this one, with the product

	marks map[string]int // by cluster, which of its two addresses mark has
}

// images are names under which the clusters get them.
type images struct{ product, pod, tools string }

// start gives the clusters, with the product on none of them.
func start(t *testing.T) *fleet {
	t.Helper()
	if reason := missing(); reason != "" {
		t.Skip(reason)
	}
	f := &fleet{manual: readManual(t), settings: map[*cluster]string{}, marks: map[string]int{}, began: time.Now()}
	if os.Getenv(kubeconfigsEnv) != "" {
		f.others(t)
	} else {
		f.own(t)
	}
	f.took(t, "clusters started")
	return f
}

// took tells how long a part of the tests was.
func (f *fleet) took(t testing.TB, part string) {
	t.Logf("%s: %.1f s", part, time.Since(f.began).Seconds())
	f.began = time.Now()
}

// own starts the rig's clusters.
func (f *fleet) own(t *testing.T) {
	t.Helper()
	f.rig = theRig()
	f.images = images{"rig.local/isthmus:1", "rig.local/pod:1", "rig.local/tools:1"}
	f.dir = f.rig.desk()
	n := 2
	if text := os.Getenv(clustersEnv); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		require.NoError(t, err)
		require.LessOrEqual(t, n, len(names))
	}
	f.kept = os.Getenv(keepEnv) != "" && f.rig.run("kubectl", "1", "-n", "isthmus", "get", "secret", "isthmus-agent-tls") == nil
	if !f.kept {
		require.NoError(t, os.RemoveAll(f.dir))
		require.NoError(t, os.MkdirAll(f.dir, 0o755))
		f.rig.up(t, n, nodes, f.dir)
	}
	path := f.tools(t)
	for i := range n {
		kubeconfig := f.rig.must(t, "kubeconfig", strconv.Itoa(i+1))
		f.clusters = append(f.clusters, newCluster(t, names[i], i+1, kubeconfig, path))
	}
	if !f.kept {
		each(t, f.clusters, func(c *cluster) error { return f.clusterDNS(c) })
	}
}

// others takes clusters that somebody else made.
func (f *fleet) others(t *testing.T) {
	t.Helper()
	list := strings.Fields(os.Getenv(imagesEnv))
	require.Len(t, list, 3, imagesEnv+": images of the product, of test/clusters/pod and with curl, that the clusters can pull")
	f.images = images{list[0], list[1], list[2]}
	f.dir = t.TempDir()
	path := f.tools(t)
	for i, kubeconfig := range filepath.SplitList(os.Getenv(kubeconfigsEnv)) {
		f.clusters = append(f.clusters, newCluster(t, names[i], 0, kubeconfig, path))
	}
	require.GreaterOrEqual(t, len(f.clusters), 2, kubeconfigsEnv)
	// What is there in the end is deleted, so it must be ours.
	for _, c := range f.clusters {
		for _, name := range []string{"isthmus", "demo"} {
			_, err := c.client.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
			require.True(t, apierrors.IsNotFound(err), "%s has a namespace %s already: %v", c.name, name, err)
		}
	}
}

// tools puts kubectl and isthmus on the administrator's path.
func (f *fleet) tools(t testing.TB) (path string) {
	t.Helper()
	bin := filepath.Join(f.dir, "bin")
	require.NoError(t, os.MkdirAll(bin, 0o755))
	link := func(target, name string) {
		_ = os.Remove(filepath.Join(bin, name))
		require.NoError(t, os.Symlink(target, filepath.Join(bin, name)))
	}
	product, err := filepath.Abs(os.Getenv(binaryEnv))
	require.NoError(t, err)
	link(product, "isthmus")
	if _, err := exec.LookPath("kubectl"); f.rig != "" || err != nil && theRig() != "" {
		link(theRig().kube(), "kubectl") // it is what it is called
	}
	return bin + string(os.PathListSeparator) + os.Getenv("PATH")
}

// clusterDNS installs what kubeadm would, but on each node, and asked by that
// node's Pods: a node that dies must not take answers of others along that
// would be taken for ours. It runs our program, as overlays/main-dns does: that
// is a CoreDNS with all plugins that kubeadm's Corefile names.
func (f *fleet) clusterDNS(c *cluster) error {
	_, err := c.shell("", "kubectl apply -f -", strings.ReplaceAll(clusterDNS, "IMAGE", f.images.product))
	if err != nil {
		return err
	}
	_, err = c.shell("", fmt.Sprintf("kubectl -n kube-system rollout status daemonset/coredns --timeout=%s", patience), "")
	return err
}

const clusterDNS = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: coredns, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: system:coredns}
rules:
  - {apiGroups: [""], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}
  - {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: system:coredns}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:coredns}
subjects: [{kind: ServiceAccount, name: coredns, namespace: kube-system}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data:
  Corefile: |
    .:53 {
        errors
        health {
           lameduck 5s
        }
        ready
        kubernetes cluster.local in-addr.arpa ip6.arpa {
           pods insecure
           fallthrough in-addr.arpa ip6.arpa
           ttl 30
        }
        prometheus :9153
        forward . /etc/resolv.conf {
           max_concurrent 1000
        }
        cache 30
        loop
        reload
        loadbalance
    }
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: coredns, namespace: kube-system}
spec:
  selector: {matchLabels: {k8s-app: kube-dns}}
  updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {k8s-app: kube-dns}}
    spec:
      serviceAccountName: coredns
      dnsPolicy: Default
      tolerations: [{operator: Exists}]
      containers:
        - name: coredns
          image: IMAGE
          args: [dns, -conf, /etc/coredns/Corefile]
          securityContext: {runAsUser: 0, allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}
          readinessProbe: {httpGet: {path: /ready, port: 8181}, periodSeconds: 1}
          volumeMounts: [{name: config, mountPath: /etc/coredns}]
      volumes: [{name: config, configMap: {name: coredns}}]
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  clusterIP: 10.96.0.10
  internalTrafficPolicy: Local
  selector: {k8s-app: kube-dns}
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53}]
`
