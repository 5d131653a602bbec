package export

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// These are the kinds of gateway.networking.k8s.io (v1) with the fields that
// are looked at, by the API's names. The API's own Go types would bring a
// hundred more fields into memory, and a module whose releases follow other
// Kubernetes versions than ours.

// GatewayGroup is the API group of Gateways, routes and ReferenceGrants.
const GatewayGroup = "gateway.networking.k8s.io"

// Gateway is where traffic enters the cluster.
type Gateway struct {
	metav1.ObjectMeta `json:"metadata"`

	Spec   GatewaySpec   `json:"spec"`
	Status GatewayStatus `json:"status"`
}

// GatewaySpec is what a Gateway is meant to be.
type GatewaySpec struct {
	Listeners []Listener `json:"listeners"`
}

// Listener is a port of a Gateway.
type Listener struct {
	Name          string         `json:"name"`
	Hostname      string         `json:"hostname"` // "" is any, "*." stands for one or more labels
	Port          int32          `json:"port"`
	Protocol      string         `json:"protocol"`
	AllowedRoutes *AllowedRoutes `json:"allowedRoutes"`
}

// AllowedRoutes says which routes may attach to a listener; nil means those of
// the Gateway's own namespace.
type AllowedRoutes struct {
	Namespaces *struct {
		From string `json:"from"` // All, Same or Selector; "" is Same
	} `json:"namespaces"`
	Kinds []struct {
		Kind string `json:"kind"`
	} `json:"kinds"` // none: all that fit the protocol
}

// GatewayStatus is what a controller made of a Gateway.
type GatewayStatus struct {
	Addresses  []GatewayAddress `json:"addresses"`
	Conditions []Condition      `json:"conditions"`
	Listeners  []ListenerStatus `json:"listeners"`
}

// GatewayAddress is an address that a Gateway is reached by.
type GatewayAddress struct {
	Type  string `json:"type"` // IPAddress (also "") or Hostname; others have no meaning outside
	Value string `json:"value"`
}

// ListenerStatus is what a controller made of a listener.
type ListenerStatus struct {
	Name           string      `json:"name"`
	AttachedRoutes int32       `json:"attachedRoutes"`
	Conditions     []Condition `json:"conditions"`
}

// Condition is metav1.Condition without its times.
type Condition struct {
	Type   string `json:"type"`
	Status string `json:"status"`
	Reason string `json:"reason"`
}

// Route is a route of any kind: all have parents, and rules with backends.
type Route struct {
	// Kind is HTTPRoute, GRPCRoute, TLSRoute, TCPRoute or UDPRoute.
	Kind              string `json:"kind"`
	metav1.ObjectMeta `json:"metadata"`

	Spec   RouteSpec   `json:"spec"`
	Status RouteStatus `json:"status"`
}

// RouteSpec is what a route is meant to do.
type RouteSpec struct {
	ParentRefs []ParentRef `json:"parentRefs"`
	Hostnames  []string    `json:"hostnames"`
	Rules      []RouteRule `json:"rules"`
}

// RouteRule leads to backends.
type RouteRule struct {
	BackendRefs []BackendRef `json:"backendRefs"`
}

// ParentRef is what a route attaches to.
type ParentRef struct {
	Group       *string `json:"group"` // nil: GatewayGroup
	Kind        *string `json:"kind"`  // nil: Gateway
	Namespace   *string `json:"namespace"`
	Name        string  `json:"name"`
	SectionName *string `json:"sectionName"`
	Port        *int32  `json:"port"`
}

// BackendRef is where a rule leads.
type BackendRef struct {
	Group     *string `json:"group"` // nil: the core group
	Kind      *string `json:"kind"`  // nil: Service
	Namespace *string `json:"namespace"`
	Name      string  `json:"name"`
	Port      *int32  `json:"port"`
	Weight    *int32  `json:"weight"` // nil: 1
}

// RouteStatus is what controllers made of a route.
type RouteStatus struct {
	Parents []RouteParentStatus `json:"parents"`
}

// RouteParentStatus is one controller's word on one parent.
type RouteParentStatus struct {
	ParentRef  ParentRef   `json:"parentRef"`
	Conditions []Condition `json:"conditions"`
}

// ReferenceGrant lets objects of other namespaces refer to those of its own.
type ReferenceGrant struct {
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		From []struct {
			Group     string `json:"group"`
			Kind      string `json:"kind"`
			Namespace string `json:"namespace"`
		} `json:"from"`
		To []struct {
			Group string  `json:"group"`
			Kind  string  `json:"kind"`
			Name  *string `json:"name"` // nil: all
		} `json:"to"`
	} `json:"spec"`
}

// Object names an object of a namespace.
type Object struct{ Namespace, Name string }

func (o Object) String() string { return o.Namespace + "/" + o.Name }

// Parents are the Gateways that the route names.
func (r *Route) Parents() []Object {
	var out []Object
	for i := range r.Spec.ParentRefs {
		if at, ok := r.parent(&r.Spec.ParentRefs[i]); ok {
			out = append(out, at)
		}
	}
	return out
}

// parent is the Gateway that a reference names; false when it names another
// kind, such as a Service (a mesh) or a ListenerSet.
func (r *Route) parent(ref *ParentRef) (Object, bool) {
	if or(ref.Group, GatewayGroup) != GatewayGroup || or(ref.Kind, "Gateway") != "Gateway" {
		return Object{}, false
	}
	return Object{or(ref.Namespace, r.Namespace), ref.Name}, true
}

// Backends are the Services that the route names.
func (r *Route) Backends() []Object {
	var out []Object
	for _, rule := range r.Spec.Rules {
		for i := range rule.BackendRefs {
			if at, ok := r.backend(&rule.BackendRefs[i]); ok {
				out = append(out, at)
			}
		}
	}
	return out
}

// backend is the Service that a reference sends traffic to; false when it is
// of another kind or gets none.
func (r *Route) backend(ref *BackendRef) (Object, bool) {
	if or(ref.Group, "") != "" || or(ref.Kind, "Service") != "Service" || or(ref.Weight, 1) == 0 {
		return Object{}, false
	}
	return Object{or(ref.Namespace, r.Namespace), ref.Name}, true
}

// grants tells whether routes of that kind and namespace may lead to a Service
// of the grant's namespace.
func (g *ReferenceGrant) grants(kind, namespace, service string) bool {
	if g.DeletionTimestamp != nil {
		return false
	}
	for _, from := range g.Spec.From {
		if from.Group != GatewayGroup || from.Kind != kind || from.Namespace != namespace {
			continue
		}
		for _, to := range g.Spec.To {
			if to.Group == "" && to.Kind == "Service" && (to.Name == nil || *to.Name == "" || *to.Name == service) {
				return true
			}
		}
	}
	return false
}

// is tells whether a condition is true; known whether it is there at all.
func is(conditions []Condition, kind string) (yes, known bool, reason string) {
	for _, c := range conditions {
		if c.Type == kind {
			return c.Status == string(metav1.ConditionTrue), true, c.Reason
		}
	}
	return false, false, ""
}

func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
