package kube_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/kube"
	"github.com/isthmus-dns/isthmus/test/kubetest"
)

const istio = "networking.istio.io"

func init() {
	resources["ServiceEntry"] = schema.GroupVersionResource{Group: istio, Version: "v1", Resource: "serviceentries"}
	resources["WorkloadEntry"] = schema.GroupVersionResource{Group: istio, Version: "v1", Resource: "workloadentries"}
}

// outside is a ServiceEntry of a host with machines at these addresses.
func outside(host string, addresses ...string) string {
	return "metadata:\n" + named(host, addresses...)
}

// named is the same after the beginning of its metadata.
func named(host string, addresses ...string) string {
	text := fmt.Sprintf("  annotations: {isthmus.dev/export: \"true\"}\nspec:\n  hosts: [%s]\n  location: MESH_INTERNAL\n  resolution: STATIC\n"+
		"  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]\n", host)
	if len(addresses) == 0 {
		return text + "  workloadSelector: {labels: {app: billing}}\n"
	}
	text += "  endpoints:\n"
	for i, a := range addresses {
		text += fmt.Sprintf("  - {address: %s, locality: us-west1/us-west1-%c, weight: 5, ports: {http: 8080}}\n", a, 'a'+i)
	}
	return text
}

// vm is a WorkloadEntry; health is the status of Istio's condition, "" for none.
func vm(address, health string) string {
	text := fmt.Sprintf("metadata: {labels: {app: billing}}\nspec: {address: %s, locality: us-west1/us-west1-a}\n", address)
	if health != "" {
		text += fmt.Sprintf("status: {conditions: [{type: Healthy, status: %q}]}\n", health)
	}
	return text
}

// shownOutside is a record of a service that is outside: "+" or "-" and address
// of its endpoints, and its first port.
func (v *view) shownOutside(namespace, name string) string {
	s := v.get(namespace, name)
	switch {
	case s == nil:
		return "absent"
	case s.Kind != discovery.KindExternal:
		return "Service"
	}
	var out []string
	for _, e := range s.Endpoints {
		sign := "+"
		if !e.Ready {
			sign = "-"
		}
		out = append(out, sign+e.Addr.String())
	}
	return fmt.Sprintf("%s:%d", strings.Join(out, " "), s.Ports[0].Port)
}

// eventsAbout are our Events about a ServiceEntry, as "Reason: message".
func (w *world) eventsAbout(namespace, name string) string {
	list, err := w.c.CoreV1().Events(namespace).List(w.t.Context(), metav1.ListOptions{})
	require.NoError(w.t, err)
	var out []string
	for _, e := range list.Items {
		if e.InvolvedObject.Kind == "ServiceEntry" && e.InvolvedObject.Name == name && e.InvolvedObject.APIVersion == istio+"/v1" {
			out = append(out, e.Reason+": "+e.Message)
		}
	}
	return strings.Join(out, "; ")
}

// outsideRow is a step in the life of production/billing.
type outsideRow struct {
	what string
	do   func(w *world)
	want string
	says string // in the log, of the namespace
}

// TestServiceEntryLifecycle is the life of a service that is not in the cluster,
// from before its CRD to after it.
func TestServiceEntryLifecycle(t *testing.T) {
	crds := kubetest.IstioCRDs(t)
	c := startCluster(t)
	w := newWorld(t, c)
	w.namespace("production")
	w.namespace("shop")
	log := &lines{}
	s := newSource(t, watcher(c), log.to)
	v := follow(t, s)
	v.synced(t)
	lead(t, s)

	put := func(kind, namespace, name, text string) func(*world) {
		return func(w *world) { w.put(kind, namespace, name, text) }
	}
	drop := func(kind, name string) func(*world) { return func(w *world) { w.drop(kind, "production", name) } }
	const host = "billing.production.global"
	for i, row := range []outsideRow{
		{
			what: "the CRDs come later", want: "+192.0.2.20:8080",
			do: func(w *world) {
				c.ApplyObjects(crds...)
				w.put("ServiceEntry", "production", "billing", outside(host, "192.0.2.20"))
			},
		},
		{what: "another machine", do: put("ServiceEntry", "production", "billing", outside(host, "192.0.2.20", "192.0.2.21")), want: "+192.0.2.20 +192.0.2.21:8080"},
		{what: "one that is refused", do: put("ServiceEntry", "production", "billing", outside(host, "127.0.0.1", "192.0.2.21")), want: "+192.0.2.21:8080", says: "127.0.0.1 refused: loopback"},
		{what: "all refused", do: put("ServiceEntry", "production", "billing", outside(host, "127.0.0.1")), want: "absent", says: "none of its endpoints can be used"},
		{what: "chosen by labels, none there yet", do: put("ServiceEntry", "production", "billing", outside(host)), want: ":8080"},
		{what: "a machine registers", do: put("WorkloadEntry", "production", "vm-1", vm("192.0.2.31", "")), want: "+192.0.2.31:8080"},
		{what: "another", do: put("WorkloadEntry", "production", "vm-2", vm("192.0.2.32", "True")), want: "+192.0.2.31 +192.0.2.32:8080"},
		{what: "of another namespace", do: put("WorkloadEntry", "shop", "vm-3", vm("192.0.2.33", "")), want: "+192.0.2.31 +192.0.2.32:8080"},
		{what: "unhealthy", do: put("WorkloadEntry", "production", "vm-2", vm("192.0.2.32", "False")), want: "+192.0.2.31 -192.0.2.32:8080"},
		{what: "well again", do: put("WorkloadEntry", "production", "vm-2", vm("192.0.2.32", "True")), want: "+192.0.2.31 +192.0.2.32:8080"},
		{what: "moves", do: put("WorkloadEntry", "production", "vm-1", vm("192.0.2.41", "")), want: "+192.0.2.32 +192.0.2.41:8080"},
		{what: "is not chosen any more", do: put("WorkloadEntry", "production", "vm-1", "metadata: {labels: {app: other}}\nspec: {address: 192.0.2.41}\n"), want: "+192.0.2.32:8080"},
		{what: "is deleted", do: drop("WorkloadEntry", "vm-2"), want: ":8080"},
		{what: "by addresses again", do: put("ServiceEntry", "production", "billing", outside(host, "192.0.2.20")), want: "+192.0.2.20:8080"},
		{what: "another namespace claims the name", do: put("ServiceEntry", "shop", "thief", outside(host, "192.0.2.66")), want: "+192.0.2.20:8080", says: "only have names of its own namespace"},
		{what: "one has a host of no zone", do: put("ServiceEntry", "production", "elsewhere", outside("billing.example.com", "192.0.2.68")), want: "+192.0.2.20:8080", says: "no host of it is NAME.NAMESPACE.ZONE"},
		{what: "a younger one claims it", do: put("ServiceEntry", "production", "twin", outside(host, "192.0.2.67")), want: "+192.0.2.20:8080", says: "ServiceEntry billing is older"},
		{what: "a Service has it", want: "Service", says: "a Service of that name is exported", do: func(w *world) {
			w.service("production", "billing", corev1.ServiceTypeClusterIP)
		}},
		{what: "it is not exported any more", do: func(w *world) { w.annotate("production", "billing", nil) }, want: "+192.0.2.20:8080"},
		{what: "the older one goes", do: drop("ServiceEntry", "billing"), want: "+192.0.2.67:8080"},
		{what: "it is not to be exported any more", want: "absent", do: func(w *world) {
			w.put("ServiceEntry", "production", "twin", strings.Replace(outside(host, "192.0.2.67"), `"true"`, `"false"`, 1))
		}},
		{what: "it is of the mesh alone", want: "absent", do: func(w *world) {
			w.put("ServiceEntry", "production", "twin", strings.Replace(outside(host, "192.0.2.67"), "isthmus.dev/export", "example.com/x", 1))
		}},
		{what: "it is again", do: put("ServiceEntry", "production", "twin", outside(host, "192.0.2.67")), want: "+192.0.2.67:8080"},
	} {
		row.do(w)
		what := fmt.Sprintf("step %d, %s", i+1, row.what)
		eventually(t, func() bool { return v.shownOutside("production", "billing") == row.want }, what+": want "+row.want)
		if row.says != "" {
			eventually(t, func() bool { return log.has("ServiceEntry has a problem", row.says) }, what+": the log has "+row.says)
		}
	}
	require.Equal(t, "us-west1-a", v.get("production", "billing").Endpoints[0].Zone)
	eventually(t, func() bool {
		return strings.Contains(w.eventsAbout("shop", "thief"), "NotExported: not exported: host "+host+": a ServiceEntry may only")
	}, "the thief is told")
	eventually(t, func() bool { return strings.Contains(w.eventsAbout("production", "twin"), "Exported: ") }, "the heir is told")

	crdResources := w.d.Resource(crdResource)
	for _, crd := range crds {
		require.NoError(t, crdResources.Delete(t.Context(), crd.GetName(), metav1.DeleteOptions{}))
	}
	eventually(t, func() bool { return v.shownOutside("production", "billing") == "absent" }, "it goes with the CRD")
	eventually(t, func() bool { return log.has("not followed any more", "serviceentries") }, "which is not followed any more")
	require.Empty(t, v.keys())
}

// TestServiceEntryBeforeTheWatcher: the first update has it, in whatever version
// is served, and a second look finds it.
func TestServiceEntryBeforeTheWatcher(t *testing.T) {
	crds := kubetest.IstioCRDs(t)
	for _, crd := range crds {
		versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
		require.NoError(t, err)
		for _, v := range versions {
			v := v.(map[string]any)
			v["served"] = v["name"] == "v1alpha3"
		}
		require.NoError(t, unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions"))
	}
	c := startCluster(t)
	c.ApplyObjects(crds...)
	w := newWorld(t, c)
	w.namespace("production")
	c.ApplyYAML("apiVersion: networking.istio.io/v1alpha3\nkind: ServiceEntry\nmetadata:\n  namespace: production\n  name: b\n" + named("billing.production.global", "192.0.2.20"))
	c.ApplyYAML("apiVersion: networking.istio.io/v1alpha3\nkind: ServiceEntry\nmetadata:\n  namespace: production\n  name: c\n" + named("cart.production.global"))
	c.ApplyYAML("apiVersion: networking.istio.io/v1alpha3\nkind: WorkloadEntry\nmetadata: {namespace: production, name: v, labels: {app: billing}}\nspec: {address: 192.0.2.31}\n")
	s := newSource(t, watcher(c))
	v := follow(t, s)
	v.synced(t)
	require.Equal(t, keys("billing.production", "cart.production"), v.keys())
	require.Equal(t, "+192.0.2.31:8080", v.shownOutside("production", "cart"))

	require.ErrorContains(t, s.Confirm(t.Context(), keys("billing.production", "other.production"), nil), "1 services, billing.production")
	require.ErrorContains(t, s.Confirm(t.Context(), nil, keys("cart.production")), "cart.production")
	gvr := schema.GroupVersionResource{Group: istio, Version: "v1alpha3", Resource: "workloadentries"}
	require.NoError(t, w.d.Resource(gvr).Namespace("production").Delete(t.Context(), "v", metav1.DeleteOptions{}))
	require.NoError(t, s.Confirm(t.Context(), nil, keys("cart.production")))
	require.NoError(t, s.Confirm(t.Context(), keys("other.production"), nil))
}

// TestServiceEntriesForbidden: without the right the rest goes on, and it is said.
func TestServiceEntriesForbidden(t *testing.T) {
	crds := kubetest.IstioCRDs(t)
	c := startCluster(t)
	c.ApplyObjects(crds...)
	w := newWorld(t, c)
	w.namespace("production")
	w.service("production", "user", corev1.ServiceTypeClusterIP)
	roles := w.c.RbacV1().ClusterRoles()
	role, err := roles.Get(t.Context(), "isthmus-watcher", metav1.GetOptions{})
	require.NoError(t, err)
	all := slices.Clone(role.Rules)
	role.Rules = slices.DeleteFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.APIGroups, istio) })
	require.Less(t, len(role.Rules), len(all))
	role, err = roles.Update(t.Context(), role, metav1.UpdateOptions{})
	require.NoError(t, err)
	w.put("ServiceEntry", "production", "billing", outside("billing.production.global", "192.0.2.20"))

	metrics := prometheus.NewRegistry()
	s := newSource(t, watcher(c), func(cfg *kube.Config) { cfg.Registerer = metrics })
	v := follow(t, s)
	v.synced(t)
	require.Equal(t, keys("user.production"), v.keys())
	require.Equal(t, "serviceentries workloadentries", forbiddenKinds(t, metrics))
	require.NoError(t, s.Confirm(t.Context(), keys("other.production"), nil))

	role.Rules = all
	_, err = roles.Update(t.Context(), role, metav1.UpdateOptions{})
	require.NoError(t, err)
	eventually(t, func() bool { return v.shownOutside("production", "billing") == "+192.0.2.20:8080" }, "with the right")
}

// forbiddenKinds are those that the metric names.
func forbiddenKinds(t *testing.T, metrics prometheus.Gatherer) string {
	t.Helper()
	families, err := metrics.Gather()
	require.NoError(t, err)
	var out []string
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "isthmus_kube_forbidden" && m.GetGauge().GetValue() == 1 {
				out = append(out, m.GetLabel()[0].GetValue())
			}
		}
	}
	return strings.Join(out, " ")
}

// TestServiceEntriesOfTheManual: those of deploy/README.md are taken by Istio's
// CRDs, and without a remark by us.
func TestServiceEntriesOfTheManual(t *testing.T) {
	crds := kubetest.IstioCRDs(t)
	text, err := os.ReadFile(filepath.Join(deploy, "README.md"))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "### VMs and outside services\n")
	require.True(t, found)
	_, rest, _ = strings.Cut(rest, "```yaml\n")
	manifests, _, _ := strings.Cut(rest, "```")

	c := startCluster(t)
	c.ApplyObjects(crds...)
	newWorld(t, c).namespace("production")
	c.ApplyYAML(manifests)
	log := &lines{}
	v := follow(t, newSource(t, watcher(c), log.to))
	v.synced(t)
	require.Equal(t, keys("bank.production", "billing.production"), v.keys())
	require.Equal(t, "+192.0.2.20:8080", v.shownOutside("production", "billing"))
	require.Equal(t, "static api.bank.example:0", v.shown("production", "bank"))
	v.mu.Lock()
	defer v.mu.Unlock()
	require.NotNil(t, v.checks["billing.production"])
	require.False(t, log.has("has a problem"))
}
