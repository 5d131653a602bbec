package kube

import (
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/isthmus-dns/isthmus/discovery/export"
)

// mcsGroup is the API group of ServiceExport.
const mcsGroup = "multicluster.x-k8s.io"

// The indexes of optional kinds.
const (
	byBackend = "backend"  // Ingresses and routes by "namespace/name" of the Services they lead to
	byParent  = "parent"   // routes by "namespace/name" of the Gateways they name
	abroad    = "abroad"   // routes by the other namespaces that they lead to
	byClass   = "by-class" // Ingresses by IngressClass
)

// kinds are the optional kinds, and what they mean for Services.
type kinds struct {
	*optionals
	enqueue func(cache.ObjectName)
	// refers tells whether a gateway set takes addresses from an object.
	refers func(export.From, export.Object) bool

	exports, ingresses, classes, ranges, gateways, grants *follower
	entries, workloads                                    *follower
	routes                                                []*follower
}

// routeKinds are the kinds of routes, in the order of what they are called.
var routeKinds = []struct {
	kind, resource string
	versions       []string
}{
	{"GRPCRoute", "grpcroutes", []string{"v1"}},
	{"HTTPRoute", "httproutes", []string{"v1", "v1beta1"}},
	{"TCPRoute", "tcproutes", []string{"v1", "v1alpha2"}},
	{"TLSRoute", "tlsroutes", []string{"v1", "v1alpha3", "v1alpha2"}},
	{"UDPRoute", "udproutes", []string{"v1", "v1alpha2"}},
}

func (s *Source) kinds(enqueue func(cache.ObjectName), refers func(export.From, export.Object) bool) *kinds {
	k := &kinds{enqueue: enqueue, refers: refers}
	all := []*kind{
		serviceExports(k.exportChanged),
		{
			group: networkingv1.GroupName, resource: "ingresses", versions: []string{"v1"},
			trim: slim(slimIngress), indexers: cache.Indexers{byBackend: ingressBackends, byClass: ingressClass}, changed: k.ingressChanged,
		},
		{
			group: networkingv1.GroupName, resource: "ingressclasses", versions: []string{"v1"},
			trim: slim(slimClass), changed: k.classChanged,
		},
		{ // Kubernetes 1.33 and later
			group: networkingv1.GroupName, resource: "servicecidrs", versions: []string{"v1"},
			trim: slim(slimRange), changed: func(any) { enqueue(clusterRecord) },
		},
		{
			group: export.GatewayGroup, resource: "gateways", versions: []string{"v1", "v1beta1"},
			trim: slim((*export.Gateway).Bound), changed: k.gatewayChanged,
		},
		{
			group: export.GatewayGroup, resource: "referencegrants", versions: []string{"v1", "v1beta1"},
			trim: slim((*export.ReferenceGrant).Bound), indexers: cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}, changed: k.grantChanged,
		},
		serviceEntries(&s.cfg.Options, k.entryChanged),
		workloadEntries(k.workloadChanged),
	}
	for _, r := range routeKinds {
		all = append(all, &kind{
			group: export.GatewayGroup, resource: r.resource, versions: r.versions,
			trim:     slim(func(route *export.Route) { route.Kind = r.kind; route.Bound() }),
			indexers: cache.Indexers{byBackend: routeBackends, byParent: routeParents, abroad: routeAbroad},
			changed:  k.routeChanged,
		})
	}
	k.optionals = s.optionals(all...)
	f := k.followers
	k.exports, k.ingresses, k.classes, k.ranges, k.gateways, k.grants = f[0], f[1], f[2], f[3], f[4], f[5]
	k.entries, k.workloads, k.routes = f[6], f[7], f[8:]
	return k
}

// serviceExports is the kind of the Multi-Cluster Services API (KEP-1645).
func serviceExports(changed func(any)) *kind {
	return &kind{
		group: mcsGroup, resource: "serviceexports", versions: []string{"v1beta1", "v1alpha1"}, declares: true,
		trim: slim[serviceExport](nil), changed: changed,
	}
}

func (k *kinds) exportChanged(obj any) {
	if e, ok := obj.(*serviceExport); ok {
		key := cache.NewObjectName(e.Namespace, e.Name)
		k.enqueue(key)
		k.source.verdicts.again(key) // it may be new, or somebody changed its conditions
	}
}

func (k *kinds) ingressChanged(obj any) {
	ing, ok := obj.(*networkingv1.Ingress)
	if !ok {
		return
	}
	for _, name := range export.IngressBackends(ing) {
		k.enqueue(cache.NewObjectName(ing.Namespace, name))
	}
	if k.refers(export.FromIngress, export.Object{Namespace: ing.Namespace, Name: ing.Name}) {
		k.enqueue(clusterRecord)
	}
}

func (k *kinds) classChanged(obj any) {
	if class, ok := obj.(*networkingv1.IngressClass); ok {
		for _, ing := range k.ingresses.by(byClass, class.Name) {
			k.ingressChanged(ing)
		}
	}
}

func (k *kinds) gatewayChanged(obj any) {
	gw, ok := obj.(*export.Gateway)
	if !ok {
		return
	}
	at := export.Object{Namespace: gw.Namespace, Name: gw.Name}
	for _, routes := range k.routes {
		for _, route := range routes.by(byParent, at.String()) {
			k.routeChanged(route)
		}
	}
	if k.refers(export.FromGateway, at) {
		k.enqueue(clusterRecord)
	}
}

func (k *kinds) routeChanged(obj any) {
	if route, ok := obj.(*export.Route); ok {
		for _, at := range route.Backends() {
			k.enqueue(cache.NewObjectName(at.Namespace, at.Name))
		}
	}
}

func (k *kinds) grantChanged(obj any) {
	if grant, ok := obj.(*export.ReferenceGrant); ok {
		for _, routes := range k.routes {
			for _, route := range routes.by(abroad, grant.Namespace) {
				k.routeChanged(route)
			}
		}
	}
}

// export is the ServiceExport of a Service, nil if there is none.
func (k *kinds) export(key cache.ObjectName) *export.Export {
	e, _ := k.exports.get(key.String()).(*serviceExport)
	return e.export()
}

// about adds to an input what the optional kinds say of a Service.
func (k *kinds) about(key cache.ObjectName, in *export.Input) {
	in.Export = k.export(key)
	in.Ingresses = typed[*networkingv1.Ingress](k.ingresses.by(byBackend, key.String()))
	for _, routes := range k.routes {
		in.Routes = append(in.Routes, typed[*export.Route](routes.by(byBackend, key.String()))...)
	}
	in.Gateway = k.gateway
	in.Grants = func(namespace string) []*export.ReferenceGrant {
		return typed[*export.ReferenceGrant](k.grants.by(cache.NamespaceIndex, namespace))
	}
	if k.classes.follows() {
		in.IngressClass = func(name string) bool { return k.classes.get(name) != nil }
	}
}

func (k *kinds) gateway(at export.Object) *export.Gateway {
	gw, _ := k.gateways.get(at.String()).(*export.Gateway)
	return gw
}

func (k *kinds) ingress(at export.Object) *networkingv1.Ingress {
	ing, _ := k.ingresses.get(at.String()).(*networkingv1.Ingress)
	return ing
}

// serviceRanges are the networks of ClusterIPs.
func (k *kinds) serviceRanges() []string {
	var out []string
	for _, r := range typed[*networkingv1.ServiceCIDR](k.ranges.all()) {
		out = append(out, r.Spec.CIDRs...)
	}
	return out
}

func ingressBackends(obj any) ([]string, error) {
	ing, ok := obj.(*networkingv1.Ingress)
	if !ok {
		return nil, nil
	}
	var out []string
	for _, name := range export.IngressBackends(ing) {
		out = append(out, cache.NewObjectName(ing.Namespace, name).String())
	}
	return out, nil
}

func ingressClass(obj any) ([]string, error) {
	if ing, ok := obj.(*networkingv1.Ingress); ok && ing.Spec.IngressClassName != nil {
		return []string{*ing.Spec.IngressClassName}, nil
	}
	return nil, nil
}

func routeBackends(obj any) ([]string, error) {
	route, ok := obj.(*export.Route)
	if !ok {
		return nil, nil
	}
	return objectNames(route.Backends()), nil
}

func routeParents(obj any) ([]string, error) {
	route, ok := obj.(*export.Route)
	if !ok {
		return nil, nil
	}
	return objectNames(route.Parents()), nil
}

func routeAbroad(obj any) ([]string, error) {
	route, ok := obj.(*export.Route)
	if !ok {
		return nil, nil
	}
	var out []string
	for _, at := range route.Backends() {
		if at.Namespace != route.Namespace {
			out = append(out, at.Namespace)
		}
	}
	return out, nil
}

func objectNames(objects []export.Object) []string {
	var out []string
	for _, at := range objects {
		out = append(out, at.String())
	}
	return out
}

// serviceExport is a ServiceExport of any version.
type serviceExport struct {
	metav1.ObjectMeta `json:"metadata"`

	Status struct {
		Conditions []metav1.Condition `json:"conditions"`
	} `json:"status"`
}

// export is what counts of it. One that waits for a finalizer is taken back
// already: nil.
func (e *serviceExport) export() *export.Export {
	if e == nil || e.DeletionTimestamp != nil {
		return nil
	}
	return &export.Export{Namespace: e.Namespace, Name: e.Name, CreatedAt: e.CreationTimestamp.Time}
}
