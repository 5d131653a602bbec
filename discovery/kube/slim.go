package kube

import (
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/isthmus-dns/isthmus/discovery/export"
)

// slim makes a transform that turns what the dynamic client reads, maps of
// maps, into a small type, which drops the fields that the type does not have,
// and then what less says. What does not fit its kind's type, as only an API
// server of another mind would send, is kept with its name alone. Like the
// transforms of transform.go it passes what is not an object as it is.
func slim[T any, P interface {
	*T
	metav1.Object
}](less func(P)) cache.TransformFunc {
	return func(obj any) (any, error) {
		u, ok := obj.(*unstructured.Unstructured)
		if !ok {
			return obj, nil
		}
		content := make(map[string]any, len(u.Object))
		for name, value := range u.Object {
			if name != "metadata" { // mostly managedFields
				content[name] = value
			}
		}
		out := P(new(T))
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, out); err != nil {
			out = P(new(T))
		}
		out.SetNamespace(u.GetNamespace())
		out.SetName(u.GetName())
		out.SetUID(u.GetUID())
		out.SetResourceVersion(u.GetResourceVersion())
		out.SetGeneration(u.GetGeneration())
		out.SetCreationTimestamp(u.GetCreationTimestamp())
		out.SetDeletionTimestamp(u.GetDeletionTimestamp())
		if less != nil {
			less(out)
		}
		return out, nil
	}
}

func slimIngress(ing *networkingv1.Ingress) {
	export.BoundIngress(ing)
	ing.TypeMeta = metav1.TypeMeta{}
	for i := range ing.Spec.TLS {
		ing.Spec.TLS[i].SecretName = ""
	}
	for i := range ing.Spec.Rules {
		if http := ing.Spec.Rules[i].HTTP; http != nil {
			for j := range http.Paths {
				http.Paths[j].Path, http.Paths[j].PathType = "", nil
			}
		}
	}
}

func slimClass(class *networkingv1.IngressClass) {
	class.TypeMeta, class.Spec = metav1.TypeMeta{}, networkingv1.IngressClassSpec{}
}

func slimRange(r *networkingv1.ServiceCIDR) {
	r.TypeMeta, r.Status = metav1.TypeMeta{}, networkingv1.ServiceCIDRStatus{}
}
