package kube_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
	"github.com/isthmus-dns/isthmus/discovery/kube"
)

// conditions are those of a ServiceExport as "Type=Status/Reason".
func (w *world) conditions(namespace, name string) map[string]string {
	out := map[string]string{}
	for _, c := range w.rawConditions(namespace, name) {
		out[c.Type] = string(c.Status) + "/" + c.Reason
	}
	return out
}

func (w *world) rawConditions(namespace, name string) []metav1.Condition {
	object, err := w.exports("v1beta1", namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	require.NoError(w.t, err)
	var e struct {
		Status struct {
			Conditions []metav1.Condition `json:"conditions"`
		} `json:"status"`
	}
	require.NoError(w.t, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &e))
	return e.Status.Conditions
}

// eventsOn are the reasons of our Events about a Service, each as often as there
// are Events.
func (w *world) eventsOn(namespace, name string) []string {
	list, err := w.c.CoreV1().Events(namespace).List(w.t.Context(), metav1.ListOptions{})
	require.NoError(w.t, err)
	var out []string
	for _, e := range list.Items {
		if e.InvolvedObject.Kind == "Service" && e.InvolvedObject.Name == name && e.Source.Component == "isthmus-watcher" {
			out = append(out, e.Reason)
		}
	}
	return out
}

func (w *world) exportVersion(namespace, name string) string {
	object, err := w.exports("v1beta1", namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	require.NoError(w.t, err)
	return object.GetResourceVersion()
}

// lead has a source report until the returned function is called.
func lead(t *testing.T, s *kube.Source) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Report(ctx)
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

func TestReport(t *testing.T) {
	c := startCluster(t)
	c.Apply(crd)
	w := newWorld(t, c)
	w.namespace("shop")
	reachable := func(svc *corev1.Service) {
		svc.Annotations = map[string]string{export.AnnotationGateway: "192.0.2.1"}
	}
	w.service("shop", "before", corev1.ServiceTypeClusterIP, reachable)
	w.export("v1beta1", "shop", "before")
	w.service("shop", "unnamed", corev1.ServiceTypeClusterIP, undeclared)
	var clash atomic.Pointer[discovery.Key]
	s := newSource(t, watcher(c), func(cfg *kube.Config) {
		cfg.Options.All = true
		cfg.Conflict = func(key discovery.Key) (string, string) {
			if k := clash.Load(); k != nil && *k == key {
				return export.ConflictPort, "ports: cluster east has another"
			}
			return "", ""
		}
	})
	v := follow(t, s)
	v.synced(t)
	require.Empty(t, w.conditions("shop", "before"), "who does not lead writes nothing")
	term := func() func() { return lead(t, s) } // longer than a subtest
	stop := term()

	good := map[string]string{"Valid": "True/Valid", "Ready": "True/Exported", "Conflict": "False/NoConflicts"}
	says := func(name string, want map[string]string, events ...string) {
		t.Helper()
		eventually(t, func() bool {
			got := w.conditions("shop", name)
			for kind, value := range want {
				if got[kind] != value {
					return false
				}
			}
			return len(got) == len(want)
		}, name+" has its conditions")
		eventually(t, func() bool { return strings.Join(w.eventsOn("shop", name), " ") == strings.Join(events, " ") }, name+" has its Events")
	}
	says("before", good) // it was exported already: no news

	w.service("shop", "good", corev1.ServiceTypeClusterIP, reachable)
	w.export("v1beta1", "shop", "good")
	says("good", good, "Exported")

	w.export("v1beta1", "shop", "none")
	says("none", map[string]string{"Valid": "False/NoService", "Ready": "False/Failed", "Conflict": "False/NoConflicts"})

	w.service("shop", "outside", corev1.ServiceTypeExternalName, func(svc *corev1.Service) {
		svc.Annotations, svc.Spec.ExternalName = nil, "www.example.com"
	})
	w.export("v1beta1", "shop", "outside")
	says("outside", map[string]string{"Valid": "False/InvalidServiceType", "Ready": "False/Failed", "Conflict": "False/NoConflicts"}, "NotExported")

	w.service("shop", "lonely", corev1.ServiceTypeClusterIP, undeclared)
	w.export("v1beta1", "shop", "lonely")
	pending := map[string]string{"Valid": "True/Valid", "Ready": "False/Pending", "Conflict": "False/NoConflicts"}
	eventually(t, func() bool { return len(w.eventsOn("shop", "lonely")) == 2 }, "exported, and no gateway")
	require.ElementsMatch(t, []string{"Exported", "NoGateway"}, w.eventsOn("shop", "lonely"))
	require.Equal(t, pending, w.conditions("shop", "lonely"))
	w.annotate("shop", "lonely", map[string]string{export.AnnotationGateway: "192.0.2.2"})
	eventually(t, func() bool { return w.conditions("shop", "lonely")["Ready"] == "True/Exported" }, "it has a gateway now")

	w.service("shop", "annotated", corev1.ServiceTypeClusterIP) // without a ServiceExport
	eventually(t, func() bool { return len(w.eventsOn("shop", "annotated")) == 2 }, "exported, and no gateway")

	clash.Store(new(discovery.MakeKey("shop", "clash")))
	w.service("shop", "clash", corev1.ServiceTypeClusterIP, reachable)
	w.export("v1beta1", "shop", "clash")
	eventually(t, func() bool { return w.conditions("shop", "clash")["Conflict"] == "True/PortConflict" }, "conflict")
	eventually(t, func() bool { return len(w.eventsOn("shop", "clash")) == 2 }, "an Event of it")

	// A sentinel that has been written shows that rounds before it are over.
	sentinel := func(name string) {
		t.Helper()
		w.service("shop", name, corev1.ServiceTypeClusterIP, reachable)
		w.export("v1beta1", "shop", name)
		eventually(t, func() bool { return len(w.conditions("shop", name)) == 3 }, "sentinel "+name)
	}
	require.Empty(t, w.eventsOn("shop", "unnamed"), "of all that `export: all` exports nothing is said")
	t.Run("a second leader has nothing to say", func(t *testing.T) {
		versions := map[string]string{}
		for _, name := range []string{"before", "good", "none", "lonely", "clash"} {
			versions[name] = w.exportVersion("shop", name)
		}
		events := len(w.eventsOn("shop", "lonely"))
		stop()
		stop = term()
		sentinel("first")
		sentinel("second")
		for name, version := range versions {
			require.Equal(t, version, w.exportVersion("shop", name), name)
		}
		require.Len(t, w.eventsOn("shop", "lonely"), events)
	})

	t.Run("conditions of others stay", func(t *testing.T) {
		object, err := w.exports("v1beta1", "shop").Get(t.Context(), "good", metav1.GetOptions{})
		require.NoError(t, err)
		theirs := w.rawConditions("shop", "good")
		meta.SetStatusCondition(&theirs, metav1.Condition{Type: "example.com/Theirs", Status: metav1.ConditionTrue, Reason: "Theirs"})
		writeConditions(t, object, theirs)
		_, err = w.exports("v1beta1", "shop").UpdateStatus(t.Context(), object, metav1.UpdateOptions{})
		require.NoError(t, err)
		w.annotate("shop", "good", nil)
		eventually(t, func() bool { return w.conditions("shop", "good")["Ready"] == "False/Pending" }, "ours changed")
		require.Equal(t, "True/Theirs", w.conditions("shop", "good")["example.com/Theirs"])
	})

	t.Run("no fight with another writer", func(t *testing.T) {
		sentinel("contested") // written by this leader
		object, err := w.exports("v1beta1", "shop").Get(t.Context(), "contested", metav1.GetOptions{})
		require.NoError(t, err)
		theirs := w.rawConditions("shop", "contested")
		meta.SetStatusCondition(&theirs, metav1.Condition{Type: "Ready", Status: metav1.ConditionFalse, Reason: "Theirs"})
		writeConditions(t, object, theirs)
		_, err = w.exports("v1beta1", "shop").UpdateStatus(t.Context(), object, metav1.UpdateOptions{})
		require.NoError(t, err)
		sentinel("third")
		sentinel("fourth")
		require.Equal(t, "False/Theirs", w.conditions("shop", "contested")["Ready"])
	})
}

func writeConditions(t *testing.T, object *unstructured.Unstructured, conditions []metav1.Condition) {
	t.Helper()
	var list []any
	for i := range conditions {
		m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&conditions[i])
		require.NoError(t, err)
		list = append(list, m)
	}
	require.NoError(t, unstructured.SetNestedSlice(object.Object, list, "status", "conditions"))
}

// TestOptionalRights: a ClusterRole without what may be left out stops nothing,
// and what is missing is said.
func TestOptionalRights(t *testing.T) {
	c := startCluster(t)
	c.Apply(crd)
	w := newWorld(t, c)
	w.namespace("shop")
	w.service("shop", "web", corev1.ServiceTypeClusterIP, undeclared)
	w.export("v1beta1", "shop", "web")
	w.put("Ingress", "shop", "web", ingress("", "203.0.113.1"))

	roles := w.c.RbacV1().ClusterRoles()
	full, err := roles.Get(t.Context(), "isthmus-watcher", metav1.GetOptions{})
	require.NoError(t, err)
	bare := full.DeepCopy()
	bare.Rules = nil
	for _, rule := range full.Rules {
		if g := rule.APIGroups[0]; g != "networking.k8s.io" && g != "gateway.networking.k8s.io" && rule.Resources[0] != "events" && rule.Resources[0] != "serviceexports/status" {
			bare.Rules = append(bare.Rules, rule)
		}
	}
	role := func(rules []rbacv1.PolicyRule) {
		now, err := roles.Get(t.Context(), "isthmus-watcher", metav1.GetOptions{})
		require.NoError(t, err)
		now.Rules = rules
		_, err = roles.Update(t.Context(), now, metav1.UpdateOptions{})
		require.NoError(t, err)
	}
	role(bare.Rules)
	registry := prometheus.NewRegistry()
	log := &lines{}
	s := newSource(t, watcher(c), log.to, func(cfg *kube.Config) { cfg.Registerer = registry })
	// The API server takes a moment to see what the role has become.
	eventually(t, func() bool { return s.Confirm(t.Context(), nil, nil) == nil }, "rights are there")
	v := follow(t, s)
	v.synced(t)
	require.NotNil(t, v.get("shop", "web"), "what declares is known")
	require.Empty(t, v.shown("shop", "web"))
	eventually(t, func() bool { return log.has("may not be listed", "ingresses.networking.k8s.io") }, "it says so")
	require.Equal(t, 1.0, gauge(t, registry, "isthmus_kube_forbidden", "ingresses"))
	require.Equal(t, 0.0, gauge(t, registry, "isthmus_kube_forbidden", "serviceexports"))
	lead(t, s)
	eventually(t, func() bool { return log.has("can't be told") }, "and what it can't write")

	role(full.Rules)
	eventually(t, func() bool { return v.shown("shop", "web") == "ingress 203.0.113.1:80" }, "allowed later")
	require.Equal(t, 0.0, gauge(t, registry, "isthmus_kube_forbidden", "ingresses"))
}

// gauge is the value of one series.
func gauge(t *testing.T, registry *prometheus.Registry, name, resource string) float64 {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if family.GetName() == name && label.GetValue() == resource {
					return m.GetGauge().GetValue()
				}
			}
		}
	}
	t.Fatalf("no %s of %s", name, resource)
	return 0
}
