package export

import (
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/isthmus-dns/isthmus/discovery"
)

// The ports of an Ingress: the API has no field for them.
const (
	portHTTP  = 80
	portHTTPS = 443
)

// ingresses are the fronts of those that lead to the Service. Who is skipped,
// and why, is added to the list.
func (b *builder) ingresses(ports []port, skipped *[]string) []front {
	sorted := slices.Clone(b.Ingresses)
	slices.SortFunc(sorted, func(x, y *networkingv1.Ingress) int { return strings.Compare(x.Name, y.Name) })
	var out []front
	lead := 0
	for _, ing := range sorted {
		if ing.Namespace != b.Service.Namespace || ing.DeletionTimestamp != nil {
			continue
		}
		f := front{name: "Ingress " + ing.Namespace + "/" + ing.Name, kind: discovery.GatewayIngress}
		if !b.paths(&f, ing, ports) {
			continue
		}
		if lead++; lead > maxFronts {
			b.tooMany("Ingresses")
			break
		}
		if why := b.locateIngress(&f, ing); why != "" {
			*skipped = append(*skipped, f.name+": "+why)
			b.awaits = true
			continue
		}
		out = append(out, f)
	}
	return out
}

// locateIngress finds the addresses of an Ingress, or says why it has none.
func (b *builder) locateIngress(f *front, ing *networkingv1.Ingress) string {
	if class := value(ing.Spec.IngressClassName); class != "" && b.IngressClass != nil && !b.IngressClass(class) {
		// Its controller lets it go; the status stays as it was.
		return "IngressClass " + clip(class) + " does not exist"
	}
	b.addresses(f, ingressPoints(ing))
	if len(f.targets) == 0 {
		return "no address yet"
	}
	return ""
}

func ingressPoints(ing *networkingv1.Ingress) []point {
	var out []point
	for _, p := range ing.Status.LoadBalancer.Ingress {
		broken := len(p.Ports) > 0 && !slices.ContainsFunc(p.Ports, func(s networkingv1.IngressPortStatus) bool { return s.Error == nil })
		if (p.IP != "" || p.Hostname != "") && !broken {
			out = append(out, point{p.IP, p.Hostname})
		}
	}
	return out
}

// paths notes which ports of the Service the rules lead to, and tells whether
// any does.
func (b *builder) paths(f *front, ing *networkingv1.Ingress, ports []port) bool {
	byHost := map[string][]offer{}
	lead := func(backend *networkingv1.IngressBackend, host string) {
		if backend == nil || backend.Service == nil || backend.Service.Name != b.Service.Name {
			return
		}
		index, ok := portNamed(ports, backend.Service.Port.Number, backend.Service.Port.Name)
		if !ok || !speaks(ports[index], false) {
			return
		}
		f.answersTo(host)
		offers, known := byHost[host]
		if !known {
			offers = ingressOffers(ing, host)
			byHost[host] = offers
		}
		for _, o := range offers {
			f.offer(index, o)
		}
	}
	lead(ing.Spec.DefaultBackend, "")
	for _, rule := range ing.Spec.Rules {
		if rule.HTTP == nil {
			continue
		}
		for i := range rule.HTTP.Paths {
			lead(&rule.HTTP.Paths[i].Backend, rule.Host)
		}
	}
	return len(f.offers) > 0
}

// ingressOffers are the ports at which a host is served: those that the status
// names, else HTTP's, and that of HTTPS where TLS covers the host.
func ingressOffers(ing *networkingv1.Ingress, host string) []offer {
	var out []offer
	for _, p := range ing.Status.LoadBalancer.Ingress {
		for _, s := range p.Ports {
			if s.Error == nil && s.Port > 0 && s.Port <= 65535 {
				out = append(out, offer{uint16(s.Port), s.Port == portHTTPS})
			}
		}
	}
	if len(out) > 0 {
		return out
	}
	out = append(out, offer{portHTTP, false})
	if slices.ContainsFunc(ing.Spec.TLS, func(t networkingv1.IngressTLS) bool {
		return len(t.Hosts) == 0 || host == "" || slices.ContainsFunc(t.Hosts, func(h string) bool { return coversLabel(h, host) })
	}) {
		out = append(out, offer{portHTTPS, true})
	}
	return out
}

// coversLabel tells whether a host of an Ingress is or covers another: its "*"
// stands for one label.
func coversLabel(pattern, host string) bool {
	if strings.EqualFold(pattern, host) {
		return true
	}
	rest, wild := strings.CutPrefix(pattern, "*.")
	_, parent, _ := strings.Cut(host, ".")
	return wild && strings.EqualFold(rest, parent)
}

// IngressBackends are the names of the Services, of the Ingress's own
// namespace, that it leads to.
func IngressBackends(ing *networkingv1.Ingress) []string {
	var out []string
	known := map[string]bool{}
	add := func(backend *networkingv1.IngressBackend) {
		if backend != nil && backend.Service != nil && !known[backend.Service.Name] {
			known[backend.Service.Name] = true
			out = append(out, backend.Service.Name)
		}
	}
	add(ing.Spec.DefaultBackend)
	for _, rule := range ing.Spec.Rules {
		if rule.HTTP != nil {
			for i := range rule.HTTP.Paths {
				add(&rule.HTTP.Paths[i].Backend)
			}
		}
	}
	return out
}
