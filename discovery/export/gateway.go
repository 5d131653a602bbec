package export

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/discovery"
)

// gateways sets how other clusters reach the Service: the first source that
// gives an address (DESIGN section 8). None leaves the record to the
// cluster's default gateway set, which is not known here.
func (b *builder) gateways(out *discovery.Service, ports []port, endpoints []endpoint) {
	if text, set := b.Service.Annotations[AnnotationGateway]; set && b.annotated(out, text) {
		b.own(out, ports)
		return
	}
	kind := b.Service.Spec.Type
	if kind == corev1.ServiceTypeLoadBalancer {
		if out.Gateways = b.loadBalancer(); len(out.Gateways) > 0 {
			for i := range ports {
				ports[i].Gateway = ports[i].Port.Port
			}
			b.own(out, ports)
			return
		}
		b.awaits = true
	}
	if b.fronts(out, ports) {
		return
	}
	if UsesNodes(b.Service) {
		if out.Gateways = b.nodes(endpoints); len(out.Gateways) > 0 {
			for i := range ports {
				ports[i].Gateway = ports[i].node
			}
			b.own(out, ports)
			return
		}
		b.awaits = true
	}
	if kind == corev1.ServiceTypeLoadBalancer || kind == corev1.ServiceTypeNodePort {
		b.problem("no gateway address yet")
	}
}

// own finishes gateways that only this Service uses: ordered, each once.
func (b *builder) own(out *discovery.Service, ports []port) {
	slices.SortFunc(out.Gateways, compareGateways)
	out.Gateways = slices.CompactFunc(out.Gateways, func(x, y discovery.Gateway) bool { return compareGateways(x, y) == 0 })
	if used := within(maxGatewayBytes, out.Gateways[:min(len(out.Gateways), discovery.MaxGateways)]); len(used) < len(out.Gateways) {
		b.problem("only %d of %d gateways are used", len(used), len(out.Gateways))
		out.Gateways = slices.Clone(used)
	}
	check := checkFor(ports)
	for i := range out.Gateways {
		out.Gateways[i].Check = check
	}
}

func compareGateways(x, y discovery.Gateway) int {
	return cmp.Or(
		slices.CompareFunc(x.Addresses, y.Addresses, netip.Addr.Compare),
		strings.Compare(x.Hostname, y.Hostname),
		cmp.Compare(x.Port, y.Port),
	)
}

// annotated reads the gateway annotation: a set's name, or gateways, one per
// element so that each is checked for itself. False when nothing in it can be
// used: then the next source gets its turn, as an answer that was not asked
// for is better than none.
func (b *builder) annotated(out *discovery.Service, text string) bool {
	if set, ok := strings.CutPrefix(strings.TrimSpace(text), "set:"); ok {
		set = strings.TrimSpace(set)
		if err := discovery.ValidLabel(set); err != nil {
			b.problem("annotation %s: set %q %v", AnnotationGateway, clip(set), err)
			return false
		}
		out.GatewaySet = set
		return true
	}
	for _, element := range list(text) {
		t, err := b.Opts.parseTarget(element)
		if err != nil {
			b.problem("annotation %s: %v", AnnotationGateway, err)
			continue
		}
		out.Gateways = append(out.Gateways, t.gateway(discovery.GatewayStatic))
	}
	if len(out.Gateways) == 0 {
		b.problem("annotation %s: names no gateway that can be used", AnnotationGateway)
		return false
	}
	return true
}

func (t target) gateway(kind discovery.GatewayKind) discovery.Gateway {
	g := discovery.Gateway{Hostname: t.host, Port: t.port, Kind: kind}
	if t.addr.IsValid() {
		g.Addresses = []netip.Addr{t.addr}
	}
	return g
}

// loadBalancer reads the Service's status, one gateway per ingress point. It
// listens on the service's ports: that is what the type means.
func (b *builder) loadBalancer() []discovery.Gateway {
	var out []discovery.Gateway
	for _, point := range b.Service.Status.LoadBalancer.Ingress {
		if point.IP == "" && point.Hostname == "" {
			continue
		}
		if allInError(point.Ports) {
			b.problem("load balancer %s: all its ports are in error", clip(cmp.Or(point.IP, point.Hostname)))
			continue
		}
		t, err := b.ingressPoint(point.IP, point.Hostname)
		if err != nil {
			b.problem("load balancer: %v", err)
			continue
		}
		out = append(out, t.gateway(discovery.GatewayLoadBalancer))
	}
	return out
}

// ingressPoint takes the IP where there is one: it needs no resolving.
func (b *builder) ingressPoint(ip, host string) (target, error) {
	if ip != "" {
		addr, err := b.Opts.gatewayAddr(ip)
		return target{addr: addr}, err
	}
	host, err := b.Opts.gatewayHost(host)
	return target{host: host}, err
}

func allInError(ports []corev1.PortStatus) bool {
	for _, p := range ports {
		if p.Error == nil {
			return false
		}
	}
	return len(ports) > 0
}
