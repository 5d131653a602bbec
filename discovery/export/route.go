package export

import (
	"cmp"
	"slices"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
)

// protocols are those that listeners of a route's kind have; other protocols
// are a controller's own, and count where the route names the listener.
var protocols = map[string][]string{
	"HTTPRoute": {"HTTP", "HTTPS"},
	"GRPCRoute": {"HTTP", "HTTPS"},
	"TLSRoute":  {"TLS"},
	"TCPRoute":  {"TCP", "TLS"},
	"UDPRoute":  {"UDP"},
}

// attached are the fronts of the Gateways to which routes to the Service are
// attached, one a Gateway. Who is skipped, and why, is added to the list.
func (b *builder) attached(ports []port, skipped *[]string) []front {
	routes, foreign := b.granted(ports)
	byGateway := map[Object]*front{}
	for _, route := range routes {
		leads := b.leads(route, ports)
		name := route.Kind + " " + route.Namespace + "/" + route.Name
		for i := range route.Spec.ParentRefs {
			if why := b.attach(route, &route.Spec.ParentRefs[i], leads, byGateway); why != "" {
				*skipped = append(*skipped, name+": "+why)
			}
		}
	}
	if foreign != "" {
		*skipped = append(*skipped, foreign)
	}
	var out []front
	for _, f := range byGateway {
		out = append(out, *f)
	}
	slices.SortFunc(out, func(x, y front) int { return strings.Compare(x.name, y.name) })
	return out
}

// leads are the indexes of the Service's ports that the route sends traffic to.
func (b *builder) leads(route *Route, ports []port) []int {
	var out []int
	for _, rule := range route.Spec.Rules {
		for i := range rule.BackendRefs {
			ref := &rule.BackendRefs[i]
			at, ok := route.backend(ref)
			if !ok || at != (Object{b.Service.Namespace, b.Service.Name}) {
				continue
			}
			index, ok := portNamed(ports, or(ref.Port, 0), "")
			if ok && speaks(ports[index], route.Kind == "UDPRoute") && !slices.Contains(out, index) {
				out = append(out, index)
			}
		}
	}
	return out
}

// granted are the routes that lead to the Service and may, in a fixed order; and
// what there is to say of one that may not. Others' routes come to nothing before
// they cost anything: anybody can name a Service of another namespace.
func (b *builder) granted(ports []port) (routes []*Route, foreign string) {
	may := map[Object]bool{} // by kind and namespace
	var stranger *Route
	for _, route := range b.Routes {
		if route.DeletionTimestamp != nil || len(b.leads(route, ports)) == 0 {
			continue
		}
		from := Object{route.Namespace, route.Kind}
		if _, known := may[from]; !known {
			may[from] = b.grants(route.Kind, route.Namespace)
		}
		switch {
		case may[from]:
			routes = append(routes, route)
		case stranger == nil || compareRoutes(route, stranger) < 0:
			stranger = route
		}
	}
	slices.SortFunc(routes, compareRoutes)
	if stranger != nil {
		foreign = stranger.Kind + " " + stranger.Namespace + "/" + stranger.Name + " is in another namespace, and no ReferenceGrant in " +
			b.Service.Namespace + " lets it lead here"
	}
	if len(routes) > maxFronts {
		b.tooMany("routes")
		routes = routes[:maxFronts]
	}
	return routes, foreign
}

func compareRoutes(x, y *Route) int {
	return cmp.Or(strings.Compare(x.Namespace, y.Namespace), strings.Compare(x.Name, y.Name), strings.Compare(x.Kind, y.Kind))
}

// grants tells whether routes of a kind and namespace may lead to the Service.
func (b *builder) grants(kind, namespace string) bool {
	if namespace == b.Service.Namespace {
		return true
	}
	if b.Grants == nil {
		return false
	}
	return slices.ContainsFunc(b.Grants(b.Service.Namespace), func(g *ReferenceGrant) bool {
		return g.grants(kind, namespace, b.Service.Name)
	})
}

// attach adds what the route gets at one parent to that Gateway's front, or
// says why it gets nothing.
func (b *builder) attach(route *Route, ref *ParentRef, leads []int, fronts map[Object]*front) string {
	at, ok := route.parent(ref)
	if !ok {
		return ""
	}
	name := "Gateway " + at.String()
	var gw *Gateway
	if b.Gateway != nil {
		gw = b.Gateway(at)
	}
	if gw == nil || gw.DeletionTimestamp != nil {
		return name + " does not exist"
	}
	f := fronts[at]
	if f == nil {
		f = &front{name: name, kind: discovery.GatewayAPI}
	}
	listeners, why := b.reach(f, route, ref, gw)
	if why != "" {
		b.awaits = true
		return name + " " + why
	}
	fronts[at] = f
	for _, l := range listeners {
		hosts := route.Spec.Hostnames
		if len(hosts) == 0 {
			hosts = []string{l.Hostname}
		}
		f.answersTo(hosts...)
		for _, index := range leads {
			f.offer(index, offer{uint16(l.Port), l.Protocol == "HTTPS" || l.Protocol == "TLS"})
		}
	}
	return ""
}

// reach finds the listeners of a Gateway that a route is attached to, and the
// Gateway's addresses unless they are known, or says why there are none.
func (b *builder) reach(f *front, route *Route, ref *ParentRef, gw *Gateway) (listeners []*Listener, why string) {
	if why := route.refused(ref); why != "" {
		return nil, "has not accepted it" + why
	}
	if why := unprogrammed(gw); why != "" {
		return nil, why
	}
	if listeners = gw.listeners(route, ref); len(listeners) == 0 {
		return nil, "has no listener that takes it"
	}
	if len(f.targets) == 0 {
		b.addresses(f, b.gatewayPoints(gw))
	}
	if len(f.targets) == 0 {
		return nil, "has no address yet"
	}
	return listeners, ""
}

// refused says why no controller has accepted the route at that parent; ""
// when one has.
func (r *Route) refused(ref *ParentRef) string {
	why := ": no controller has said so"
	for i := range r.Status.Parents {
		p := &r.Status.Parents[i]
		if !r.sameParent(&p.ParentRef, ref) {
			continue
		}
		accepted, known, reason := is(p.Conditions, "Accepted")
		if accepted {
			return ""
		}
		if known && reason != "" {
			why = ": " + clip(reason)
		}
	}
	return why
}

func (r *Route) sameParent(x, y *ParentRef) bool {
	atX, okX := r.parent(x)
	atY, okY := r.parent(y)
	return okX && okY && atX == atY && or(x.SectionName, "") == or(y.SectionName, "") && or(x.Port, 0) == or(y.Port, 0)
}

// unprogrammed says why a Gateway takes no traffic; "" when it does.
func unprogrammed(gw *Gateway) string {
	yes, _, reason := is(gw.Status.Conditions, "Programmed")
	switch {
	case yes:
		return ""
	case reason != "":
		return "is not programmed: " + clip(reason)
	}
	return "is not programmed"
}

// gatewayPoints are the addresses of a Gateway's status.
func (b *builder) gatewayPoints(gw *Gateway) []point {
	var out []point
	for _, a := range gw.Status.Addresses {
		switch a.Type {
		case "", "IPAddress":
			out = append(out, point{ip: a.Value})
		case "Hostname":
			out = append(out, point{host: a.Value})
		}
	}
	return out
}

// listeners are those that the route is attached to.
func (g *Gateway) listeners(route *Route, ref *ParentRef) []*Listener {
	var out []*Listener
	for i := range g.Spec.Listeners {
		l := &g.Spec.Listeners[i]
		named := ref.SectionName != nil && *ref.SectionName != ""
		switch {
		case named && *ref.SectionName != l.Name, ref.Port != nil && *ref.Port != l.Port:
		case l.Port < 1 || l.Port > 65535:
		case !l.takes(route.Kind, named), !intersect(l.Hostname, route.Spec.Hostnames):
		case !named && !g.admits(l, route.Namespace):
		case !g.works(l.Name):
		default:
			out = append(out, l)
		}
	}
	return out
}

// takes tells whether a listener is for routes of a kind.
func (l *Listener) takes(kind string, named bool) bool {
	if l.AllowedRoutes != nil && len(l.AllowedRoutes.Kinds) > 0 {
		for _, k := range l.AllowedRoutes.Kinds {
			if k.Kind == kind {
				return true
			}
		}
		return false
	}
	if strings.Contains(l.Protocol, "/") {
		return named
	}
	return slices.Contains(protocols[kind], l.Protocol)
}

// admits tells whether a listener that the route does not name takes routes of
// a namespace. Where labels of namespaces decide, which are not known here, the
// listener must have routes; the route's parent has been asked already.
func (g *Gateway) admits(l *Listener, namespace string) bool {
	from := "Same"
	if l.AllowedRoutes != nil && l.AllowedRoutes.Namespaces != nil {
		from = cmp.Or(l.AllowedRoutes.Namespaces.From, from)
	}
	switch from {
	case "All":
		return true
	case "Selector":
		return slices.ContainsFunc(g.Status.Listeners, func(s ListenerStatus) bool { return s.Name == l.Name && s.AttachedRoutes > 0 })
	}
	return namespace == g.Namespace
}

// works tells whether the controller says nothing against a listener.
func (g *Gateway) works(listener string) bool {
	for _, s := range g.Status.Listeners {
		if s.Name != listener {
			continue
		}
		for _, kind := range []string{"Accepted", "Programmed"} {
			if yes, known, _ := is(s.Conditions, kind); known && !yes {
				return false
			}
		}
	}
	return true
}

// intersect tells whether a listener's host name and those of a route have
// names in common; "" and none are any.
func intersect(listener string, hosts []string) bool {
	if listener == "" || len(hosts) == 0 {
		return true
	}
	return slices.ContainsFunc(hosts, func(h string) bool { return covers(listener, h) || covers(h, listener) })
}

// covers tells whether a pattern of the Gateway API is or covers a host or
// another pattern: its "*" stands for one or more labels.
func covers(pattern, host string) bool {
	if strings.EqualFold(pattern, host) {
		return true
	}
	rest, wild := strings.CutPrefix(strings.ToLower(pattern), "*")
	return wild && strings.HasSuffix(strings.ToLower(host), rest)
}
