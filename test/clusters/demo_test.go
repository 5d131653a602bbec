package clusters

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// demo installs what is asked for and who asks. Every cluster has
//
//	one-CLUSTER, node-CLUSTER, plain-CLUSTER   Services of its own behind a load balancer, node ports and its gateway
//	shared                                     which all clusters have
//	mark-CLUSTER                               whose address the tests change
//	gateway                                    an HTTP gateway behind a load balancer
//	client                                     a Pod with curl and dig
func (f *fleet) demo(t testing.TB) {
	t.Helper()
	each(t, f.clusters, func(c *cluster) error {
		_, err := c.shell("", "kubectl apply -f -", f.fill(c, demo))
		return err
	})
	for _, c := range f.clusters {
		if f.rig != "" {
			f.rig.address(t, c, f.markAddress(c, 0))
			f.rig.address(t, c, f.markAddress(c, 1))
		}
		f.mark(t, c)
	}
}

// fill puts images and the cluster's name into manifests.
func (f *fleet) fill(c *cluster, yaml string) string {
	return strings.NewReplacer("POD_IMAGE", f.images.pod, "TOOLS_IMAGE", f.images.tools, "CLUSTER_NAME", c.name).Replace(yaml)
}

// ask has a Pod on each node of a cluster ask for all names, all the time.
func (f *fleet) ask(t testing.TB, c *cluster) {
	t.Helper()
	var ask []string
	for _, name := range f.names() {
		ask = append(ask, fmt.Sprintf("%q", name))
	}
	c.apply(t, replace(t, f.fill(c, asking), "NAMES", strings.Join(ask, ", "),
		"AGENT_ADDRESS", c.service(t, "isthmus", "isthmus-dns").Spec.ClusterIP))
}

// names are those that every Pod asks for, fully qualified.
func (f *fleet) names() []string {
	all := []string{"shared.demo.global.", "none.demo.global."}
	for _, c := range f.clusters {
		for _, service := range []string{"one", "node", "plain", "mark"} {
			all = append(all, service+"-"+c.name+".demo.global.")
		}
	}
	return all
}

// nodeAddresses are the addresses of a cluster's nodes, as an answer.
func (c *cluster) nodeAddresses(t testing.TB) string {
	t.Helper()
	list, err := c.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	var all []string
	for _, node := range list.Items {
		for _, kind := range []corev1.NodeAddressType{corev1.NodeExternalIP, corev1.NodeInternalIP} {
			if i := slices.IndexFunc(node.Status.Addresses, func(a corev1.NodeAddress) bool { return a.Type == kind }); i >= 0 {
				all = append(all, node.Status.Addresses[i].Address)
				break
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// right is what each name is answered with in a cluster while nothing happens.
func (f *fleet) right(t testing.TB, c *cluster) map[string]string {
	t.Helper()
	own := func(name string) string { return c.service(t, "demo", name).Spec.ClusterIP }
	answers := map[string]string{"none.demo.global.": "NXDOMAIN", "shared.demo.global.": own("shared")}
	for _, other := range f.clusters {
		for service, address := range map[string]func() string{
			"one":   func() string { return other.balanced(t, "demo", "one-"+other.name) },
			"node":  func() string { return other.nodeAddresses(t) },
			"plain": func() string { return other.balanced(t, "demo", "gateway") },
			"mark":  func() string { return f.markAddress(other, f.marks[other.name]) },
		} {
			name := service + "-" + other.name
			if other == c {
				address = func() string { return own(name) }
			}
			answers[name+".demo.global."] = address()
		}
	}
	return answers
}

// gateways is the part of watcher.yaml that names the cluster's gateway, which
// Services have that others can't reach by themselves.
const gateways = `
gateways:
  - name: default
    service: demo/gateway
`

// markAddress is one of two, outside what the rig gives out. Elsewhere they
// are addresses for documentation (RFC 5737): nobody connects there.
func (f *fleet) markAddress(c *cluster, which int) string {
	if f.rig != "" {
		return fmt.Sprintf("172.30.%d.%d", c.number, 251+which)
	}
	return fmt.Sprintf("198.51.100.%d", 1+2*slices.Index(f.clusters, c)+which)
}

// mark writes the status of a cluster's Service mark, as a cloud's controller
// would.
func (f *fleet) mark(t testing.TB, c *cluster) {
	t.Helper()
	f.setMark(t, c, f.markAddress(c, f.marks[c.name]))
}

func (f *fleet) setMark(t testing.TB, c *cluster, addresses ...string) {
	t.Helper()
	ingress := []string{}
	for _, a := range addresses {
		ingress = append(ingress, fmt.Sprintf(`{"ip": %q}`, a))
	}
	patch := fmt.Sprintf(`{"status": {"loadBalancer": {"ingress": [%s]}}}`, strings.Join(ingress, ", "))
	_, err := c.client.CoreV1().Services("demo").Patch(t.Context(), "mark-"+c.name, "application/merge-patch+json", []byte(patch), metav1.PatchOptions{}, "status")
	require.NoError(t, err)
}

const demo = `
apiVersion: v1
kind: Namespace
metadata: {name: demo, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: echo, namespace: demo}
spec:
  selector: {matchLabels: {app: echo-everywhere}}
  template:
    metadata: {labels: {app: echo-everywhere}}
    spec:
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
      terminationGracePeriodSeconds: 0
      tolerations: [{operator: Exists}]
      containers:
        - name: echo
          image: POD_IMAGE
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
          args: [echo]
          env: [{name: CLUSTER, value: CLUSTER_NAME}]
          readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: one-CLUSTER_NAME, namespace: demo, annotations: {isthmus.dev/export: "true"}}
spec:
  type: LoadBalancer
  selector: {app: echo-everywhere}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: node-CLUSTER_NAME, namespace: demo, annotations: {isthmus.dev/export: "true"}}
spec:
  type: NodePort
  externalTrafficPolicy: Local # a node's port leads to its own Pod, and dies with it alone
  selector: {app: echo-everywhere}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: plain-CLUSTER_NAME, namespace: demo, annotations: {isthmus.dev/export: "true"}}
spec:
  selector: {app: echo-everywhere}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: shared, namespace: demo, annotations: {isthmus.dev/export: "true"}}
spec:
  selector: {app: echo-everywhere}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: mark-CLUSTER_NAME, namespace: demo, annotations: {isthmus.dev/export: "true"}}
spec:
  type: LoadBalancer
  loadBalancerClass: test/by-hand
  selector: {app: echo-everywhere}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: gateway, namespace: demo}
spec:
  selector: {matchLabels: {app: gateway}}
  template:
    metadata: {labels: {app: gateway}}
    spec:
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
      terminationGracePeriodSeconds: 0
      containers:
        - name: gateway
          image: POD_IMAGE
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
          args: [gateway, svc.cluster.local]
          env: [{name: CLUSTER, value: CLUSTER_NAME}]
---
apiVersion: v1
kind: Service
metadata: {name: gateway, namespace: demo}
spec:
  type: LoadBalancer
  selector: {app: gateway}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: demo, labels: {app: client}}
spec:
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
  terminationGracePeriodSeconds: 0
  containers:
    - name: client
      image: TOOLS_IMAGE
      command: [sleep, "2147483647"]
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`

const asking = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: ask, namespace: demo}
spec:
  selector: {matchLabels: {app: ask}}
  template:
    metadata: {labels: {app: ask}}
    spec:
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
      terminationGracePeriodSeconds: 0
      tolerations: [{operator: Exists}]
      containers:
        - name: ask
          image: POD_IMAGE
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
          args: [ask, NAMES]
          env: [{name: AGENT, value: AGENT_ADDRESS}]
`
