package export

import networkingv1 "k8s.io/api/networking/v1"

// What is looked at of one object, however long its lists are: the work that one
// makes must not hold up the Services of everybody else. Those of the Gateway
// API are its own limits, which a CRD of another make may not have; an Ingress
// has none but the 1.5 MiB of an object.
const (
	maxListeners = 64
	maxParents   = 32
	maxHostnames = 16
	maxRules     = 16
	maxBackends  = 16
	maxReasons   = 16 // conditions, kinds, and both sides of a grant
	maxPoints    = 64 // addresses of a status
	maxPaths     = 4096
	maxTLSHosts  = 4096
	// maxFronts is how many Ingresses, and how many routes, are looked at for one
	// Service. Who has more has one a customer, and all at the same few Gateways.
	maxFronts = 256
)

// cut shortens a list in a way that lets go of the rest.
func cut[T any](list []T, most int) []T {
	if len(list) <= most {
		return list
	}
	return append([]T(nil), list[:most]...)
}

// Bound cuts the Gateway to what is looked at.
func (g *Gateway) Bound() {
	g.Spec.Listeners = cut(g.Spec.Listeners, maxListeners)
	for i := range g.Spec.Listeners {
		if allowed := g.Spec.Listeners[i].AllowedRoutes; allowed != nil {
			allowed.Kinds = cut(allowed.Kinds, maxReasons)
		}
	}
	g.Status.Addresses = cut(g.Status.Addresses, maxPoints)
	g.Status.Conditions = cut(g.Status.Conditions, maxReasons)
	g.Status.Listeners = cut(g.Status.Listeners, maxListeners)
	for i := range g.Status.Listeners {
		g.Status.Listeners[i].Conditions = cut(g.Status.Listeners[i].Conditions, maxReasons)
	}
}

// Bound cuts the route to what is looked at.
func (r *Route) Bound() {
	r.Spec.ParentRefs = cut(r.Spec.ParentRefs, maxParents)
	r.Spec.Hostnames = cut(r.Spec.Hostnames, maxHostnames)
	r.Spec.Rules = cut(r.Spec.Rules, maxRules)
	for i := range r.Spec.Rules {
		r.Spec.Rules[i].BackendRefs = cut(r.Spec.Rules[i].BackendRefs, maxBackends)
	}
	r.Status.Parents = cut(r.Status.Parents, maxParents)
	for i := range r.Status.Parents {
		r.Status.Parents[i].Conditions = cut(r.Status.Parents[i].Conditions, maxReasons)
	}
}

// Bound cuts the grant to what is looked at.
func (g *ReferenceGrant) Bound() {
	g.Spec.From, g.Spec.To = cut(g.Spec.From, maxReasons), cut(g.Spec.To, maxReasons)
}

// BoundIngress cuts an Ingress to what is looked at.
func BoundIngress(ing *networkingv1.Ingress) {
	paths, hosts := maxPaths, maxTLSHosts
	for i := range ing.Spec.Rules {
		if http := ing.Spec.Rules[i].HTTP; http != nil {
			http.Paths = cut(http.Paths, paths)
			paths -= len(http.Paths)
		}
	}
	ing.Spec.Rules = cut(ing.Spec.Rules, maxPaths)
	for i := range ing.Spec.TLS {
		ing.Spec.TLS[i].Hosts = cut(ing.Spec.TLS[i].Hosts, hosts)
		hosts -= len(ing.Spec.TLS[i].Hosts)
	}
	ing.Spec.TLS = cut(ing.Spec.TLS, maxTLSHosts)
	ing.Status.LoadBalancer.Ingress = cut(ing.Status.LoadBalancer.Ingress, maxPoints)
	for i := range ing.Status.LoadBalancer.Ingress {
		point := &ing.Status.LoadBalancer.Ingress[i]
		point.Ports = cut(point.Ports, maxPoints)
	}
}
