package kube_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// testChecks: where a Service without a selector wants its endpoints checked
// comes with it, also when its counts stay the same, and goes with the
// annotation, or with a selector.
func testChecks(t *testing.T, w *world, v *view, ns string) {
	annotations := map[string]string{export.AnnotationExport: "true", export.AnnotationCheck: "tcp"}
	w.service(ns, "db", corev1.ServiceTypeClusterIP, func(svc *corev1.Service) { svc.Annotations = annotations })
	w.slice(ns, "db-1", "db", "192.0.2.1", "192.0.2.2")
	where := func() string {
		v.mu.Lock()
		defer v.mu.Unlock()
		check := v.checks[discovery.MakeKey(ns, "db")]
		if check == nil {
			return "none"
		}
		var out []string
		for _, e := range check.Endpoints {
			out = append(out, e.Addr.String())
		}
		return strings.Join(out, " ")
	}
	eventually(t, func() bool { return where() == "192.0.2.1 192.0.2.2" }, "both are to be checked")
	w.slice(ns, "db-1", "db", "192.0.2.1", "192.0.2.3")
	eventually(t, func() bool { return where() == "192.0.2.1 192.0.2.3" }, "another machine, as many as before")

	w.annotate(ns, "db", map[string]string{export.AnnotationExport: "true"})
	eventually(t, func() bool { return where() == "none" }, "without the annotation")
	w.annotate(ns, "db", annotations)
	eventually(t, func() bool { return where() == "192.0.2.1 192.0.2.3" }, "with it again")
	w.changeService(ns, "db", func(svc *corev1.Service) { svc.Spec.Selector = map[string]string{"app": "db"} })
	eventually(t, func() bool { return where() == "none" }, "its Pods decide")
}

func (w *world) changeService(namespace, name string, change func(*corev1.Service)) {
	w.t.Helper()
	svc, err := w.c.CoreV1().Services(namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	require.NoError(w.t, err)
	change(svc)
	_, err = w.c.CoreV1().Services(namespace).Update(w.t.Context(), svc, metav1.UpdateOptions{})
	require.NoError(w.t, err)
}
