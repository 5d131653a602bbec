package kube_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-dns/isthmus/discovery"
)

// resources are the kinds that tests write as YAML.
var resources = map[string]schema.GroupVersionResource{
	"Ingress":        {Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"},
	"IngressClass":   {Group: "networking.k8s.io", Version: "v1", Resource: "ingressclasses"},
	"Gateway":        {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"},
	"HTTPRoute":      {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"},
	"TCPRoute":       {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "tcproutes"},
	"ReferenceGrant": {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "referencegrants"},
}

func (w *world) at(kind, namespace string) dynamic.ResourceInterface {
	gvr, ok := resources[kind]
	require.True(w.t, ok, kind)
	if kind == "IngressClass" {
		return w.d.Resource(gvr)
	}
	return w.d.Resource(gvr).Namespace(namespace)
}

// put writes an object, with its status if it has one. The kind may not be
// served yet.
func (w *world) put(kind, namespace, name, text string) {
	w.t.Helper()
	object := &unstructured.Unstructured{}
	require.NoError(w.t, yaml.Unmarshal([]byte(text), &object.Object))
	gvr := resources[kind]
	object.SetAPIVersion(gvr.GroupVersion().String())
	object.SetKind(kind)
	object.SetName(name)
	resource := w.at(kind, namespace)
	status, hasStatus := object.Object["status"]
	var written *unstructured.Unstructured
	var err error
	eventually(w.t, func() bool {
		var old *unstructured.Unstructured
		if old, err = resource.Get(w.t.Context(), name, metav1.GetOptions{}); err == nil {
			object.SetResourceVersion(old.GetResourceVersion())
			written, err = resource.Update(w.t.Context(), object, metav1.UpdateOptions{})
		} else {
			written, err = resource.Create(w.t.Context(), object, metav1.CreateOptions{})
		}
		return err == nil || !apierrors.IsNotFound(err)
	}, kind+" is not served")
	require.NoError(w.t, err)
	if hasStatus {
		written.Object["status"] = status
		_, err = resource.UpdateStatus(w.t.Context(), written, metav1.UpdateOptions{})
		require.NoError(w.t, err)
	}
}

func (w *world) drop(kind, namespace, name string) {
	w.t.Helper()
	require.NoError(w.t, w.at(kind, namespace).Delete(w.t.Context(), name, metav1.DeleteOptions{}))
}

func (w *world) nodeStatus(name string, change func(*corev1.Node)) {
	w.t.Helper()
	node, err := w.c.CoreV1().Nodes().Get(w.t.Context(), name, metav1.GetOptions{})
	require.NoError(w.t, err)
	change(node)
	_, err = w.c.CoreV1().Nodes().UpdateStatus(w.t.Context(), node, metav1.UpdateOptions{})
	require.NoError(w.t, err)
}

// ingress is an Ingress to port 8080 of Service "web", with an address for each
// of the status's elements, an IP or a host name.
func ingress(class string, status ...string) string {
	text := "spec:\n  rules:\n  - http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}\n"
	if class != "" {
		text += "  ingressClassName: " + class + "\n"
	}
	text += "status:\n  loadBalancer:\n    ingress:\n"
	for _, s := range status {
		if strings.Trim(s, "0123456789.") == "" || strings.Contains(s, ":") {
			text += "    - ip: \"" + s + "\"\n"
		} else {
			text += "    - hostname: " + s + "\n"
		}
	}
	return text
}

// gateway has a listener "web" at port 80 for all namespaces and the addresses.
func gateway(programmed bool, status ...string) string {
	text := "spec:\n  gatewayClassName: any\n  listeners:\n  - {name: web, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}\n"
	condition := "False"
	if programmed {
		condition = "True"
	}
	text += "status:\n  conditions:\n  - {type: Programmed, status: \"" + condition +
		"\", reason: AddressNotAssigned, message: m, lastTransitionTime: \"2026-01-01T00:00:00Z\"}\n  addresses:\n"
	for _, s := range status {
		kind := "Hostname"
		if strings.Trim(s, "0123456789.") == "" {
			kind = "IPAddress"
		}
		text += "  - {type: " + kind + ", value: \"" + s + "\"}\n"
	}
	return text
}

// route leads from a Gateway, written as a parentRef, to port 8080 of Service
// "web", written as a backendRef.
func route(parent, backend string, accepted bool) string {
	condition := "False"
	if accepted {
		condition = "True"
	}
	return fmt.Sprintf(`
spec:
  parentRefs: [{%s}]
  rules: [{backendRefs: [{%s, port: 8080}]}]
status:
  parents:
  - parentRef: {group: gateway.networking.k8s.io, kind: Gateway, %[1]s}
    controllerName: example.com/controller
    conditions: [{type: Accepted, status: %[3]q, reason: NoMatchingParent, message: m, lastTransitionTime: "2026-01-01T00:00:00Z"}]
`, parent, backend, condition)
}

// show writes gateways as "kind address[+address]:port", the port being where
// the Service's first one is found; sorted.
func show(gateways []discovery.Gateway, first uint16) string {
	var out []string
	for _, g := range gateways {
		where := g.Hostname
		for i, a := range g.Addresses {
			if i > 0 {
				where += "+"
			}
			where += a.String()
		}
		port := g.Port
		if first != 0 {
			port = first
		}
		out = append(out, fmt.Sprintf("%v %s:%d", g.Kind, where, port))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// shown are the gateways of a Service, "absent" if it is not exported.
func (v *view) shown(namespace, name string) string {
	s := v.get(namespace, name)
	switch {
	case s == nil:
		return "absent"
	case s.GatewaySet != "":
		return "set " + s.GatewaySet
	}
	return show(s.Gateways, s.Ports[0].Gateway)
}

// shownSet are the gateways of one of the cluster's sets.
func (v *view) shownSet(name string) string {
	record := v.record()
	if record == nil {
		return "absent"
	}
	for _, set := range record.GatewaySets {
		if set.Name == name {
			return show(set.Gateways, 0)
		}
	}
	return "absent"
}

// nodesNamed are the addresses that rows give to the nodes a, b, c…
func nodesNamed(names string) map[string]string {
	out := map[string]string{}
	for i, name := range names {
		out[string(name)] = fmt.Sprintf("198.51.100.%d", i+1)
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
