package kube

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-dns/isthmus/discovery/export"
)

// The transforms run on each object before an informer caches it and keep
// what discovery/export reads (the list in its package comment) and the
// cluster's record may want. In a cluster of 100,000 Pods the rest would take
// most of the watcher's memory: managedFields alone are half of a small
// object. They own the object and change it in place. Whatever is not of
// their kind, a tombstone for example, goes through as it is.

// annotationPrefixes are what the annotations that export reads begin with.
var annotationPrefixes = []string{"isthmus.dev/", "service.cilium.io/"}

func trimService(obj any) (any, error) {
	svc, ok := obj.(*corev1.Service)
	if !ok {
		return obj, nil
	}
	meta := trimMeta(&svc.ObjectMeta)
	for name, value := range svc.Annotations {
		if slices.ContainsFunc(annotationPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			if meta.Annotations == nil {
				meta.Annotations = map[string]string{}
			}
			meta.Annotations[name] = value
		}
	}
	meta.DeletionTimestamp = svc.DeletionTimestamp
	svc.ObjectMeta = meta
	selector := svc.Spec.Selector
	if _, checked := meta.Annotations[export.AnnotationCheck]; !checked {
		selector = nil
	}
	svc.Spec = corev1.ServiceSpec{
		Selector:                 selector,
		Type:                     svc.Spec.Type,
		ClusterIP:                svc.Spec.ClusterIP,
		ClusterIPs:               svc.Spec.ClusterIPs,
		Ports:                    svc.Spec.Ports,
		SessionAffinity:          svc.Spec.SessionAffinity,
		PublishNotReadyAddresses: svc.Spec.PublishNotReadyAddresses,
	}
	svc.Status = corev1.ServiceStatus{LoadBalancer: svc.Status.LoadBalancer}
	return svc, nil
}

func trimSlice(obj any) (any, error) {
	slice, ok := obj.(*discoveryv1.EndpointSlice)
	if !ok {
		return obj, nil
	}
	labels := keep(slice.Labels, discoveryv1.LabelServiceName)
	slice.ObjectMeta = trimMeta(&slice.ObjectMeta)
	slice.Labels = labels
	for i, p := range slice.Ports {
		slice.Ports[i] = discoveryv1.EndpointPort{Name: p.Name, Protocol: p.Protocol, Port: p.Port}
	}
	for i := range slice.Endpoints {
		e := &slice.Endpoints[i]
		*e = discoveryv1.Endpoint{
			Addresses:  e.Addresses[:min(len(e.Addresses), 1)],
			Conditions: e.Conditions,
			Hostname:   e.Hostname,
			NodeName:   e.NodeName,
			Zone:       e.Zone,
		}
	}
	return slice, nil
}

func trimNode(obj any) (any, error) {
	node, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil
	}
	labels := keep(node.Labels, corev1.LabelTopologyRegion, corev1.LabelTopologyZone)
	deleted := node.DeletionTimestamp
	node.ObjectMeta = trimMeta(&node.ObjectMeta)
	node.Labels, node.DeletionTimestamp = labels, deleted
	node.Spec = corev1.NodeSpec{Unschedulable: node.Spec.Unschedulable, PodCIDRs: node.Spec.PodCIDRs}
	status := corev1.NodeStatus{Addresses: node.Status.Addresses}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			// Without the times: a heartbeat is no change.
			status.Conditions = []corev1.NodeCondition{{Type: c.Type, Status: c.Status}}
		}
	}
	node.Status = status
	return node, nil
}

// trimMeta keeps what names an object and its version.
func trimMeta(m *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace:         m.Namespace,
		Name:              m.Name,
		UID:               m.UID,
		ResourceVersion:   m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp,
	}
}

// keep copies the named labels, so that the map of the rest can go.
func keep(labels map[string]string, names ...string) map[string]string {
	out := make(map[string]string, len(names))
	for _, name := range names {
		if value, ok := labels[name]; ok {
			out[name] = value
		}
	}
	return out
}
