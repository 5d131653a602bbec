package export

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/isthmus-dns/isthmus/discovery"
)

// From is the kind of object that an entry of a gateway set takes its addresses
// from.
type From uint8

// The kinds.
const (
	FromNothing From = iota // the entry has them itself
	FromService
	FromIngress
	FromGateway
)

func (f From) String() string { return [...]string{"", "Service", "Ingress", "Gateway"}[f] }

// SetEntry is an entry of one of the cluster's gateway sets.
type SetEntry struct {
	Set string
	// Gateway is the gateway, or, of an entry that is From an object, what is
	// said of those that are found there: Port (0: the object's, if it has one
	// only, else the port of each service), Zone, Weight and Check.
	Gateway discovery.Gateway
	From    From
	Object  Object
}

// SetInput is where GatewaySets finds the objects of entries. A nil func knows
// none.
type SetInput struct {
	Service func(Object) (*corev1.Service, []*discoveryv1.EndpointSlice)
	Ingress func(Object) *networkingv1.Ingress
	// Input gives IngressClass, Gateway, Nodes and Opts.
	Input
}

// GatewaySets are the cluster's sets, in the order of their first entries, and
// what the operator should know of them. An object without an address adds
// nothing: a set may be empty. What does not fit into a cluster's record is left
// out: each object has the same share of it, so that no more addresses of one
// take those of another away.
func GatewaySets(entries []SetEntry, in SetInput) (sets []discovery.GatewaySet, problems []string) {
	share := shareOf(entries)
	for _, e := range entries {
		i := slices.IndexFunc(sets, func(s discovery.GatewaySet) bool { return s.Name == e.Set })
		if i < 0 {
			i = len(sets)
			sets = append(sets, discovery.GatewaySet{Name: e.Set})
		}
		found := []discovery.Gateway{e.Gateway}
		if e.From != FromNothing {
			b := builder{Input: in.Input}
			why := ""
			if found, why = b.entry(&e, &in); why != "" {
				b.problem("%s", why)
			}
			for _, p := range b.problems {
				problems = append(problems, fmt.Sprintf("gateway set %s: %s %s: %s", e.Set, e.From, e.Object, p))
			}
			if fits := within(share, found); points(fits) < points(found) {
				problems = append(problems, fmt.Sprintf("gateway set %s: %s %s: only %d of %d addresses fit into the cluster's record",
					e.Set, e.From, e.Object, points(fits), points(found)))
				found = fits
			}
		}
		room := discovery.MaxGateways - len(sets[i].Gateways)
		if len(found) > room {
			problems = append(problems, fmt.Sprintf("gateway set %s: more than %d gateways, the rest is left out", e.Set, discovery.MaxGateways))
			found = found[:room]
		}
		sets[i].Gateways = append(sets[i].Gateways, found...)
	}
	return sets, problems
}

// shareOf is how many octets of the cluster's record each object's gateways may
// take. What is written out in watcher.yaml was found to fit when it was read.
func shareOf(entries []SetEntry) int {
	objects, room := 0, maxSetBytes
	for i := range entries {
		room -= 3 + textBytes(entries[i].Set)
		if entries[i].From != FromNothing {
			objects++
			continue
		}
		room -= gatewayBytes(&entries[i].Gateway)
	}
	return max(room, 0) / max(objects, 1)
}

// points counts addresses and host names.
func points(gateways []discovery.Gateway) int {
	n := 0
	for i := range gateways {
		n += max(len(gateways[i].Addresses), 1)
	}
	return n
}

// entry are the gateways of one entry's object, or why there are none.
func (b *builder) entry(e *SetEntry, in *SetInput) (found []discovery.Gateway, why string) {
	f := front{name: "status"}
	switch e.From {
	case FromService:
		var slices []*discoveryv1.EndpointSlice
		if in.Service != nil {
			b.Service, slices = in.Service(e.Object)
		}
		if b.Service == nil || b.Service.DeletionTimestamp != nil {
			return nil, "does not exist"
		}
		b.Slices = slices
		return b.entryService(e)
	case FromIngress:
		var ing *networkingv1.Ingress
		if in.Ingress != nil {
			ing = in.Ingress(e.Object)
		}
		if ing == nil || ing.DeletionTimestamp != nil {
			return nil, "does not exist"
		}
		if why := b.locateIngress(&f, ing); why != "" {
			return nil, why
		}
		return gather(f.targets, discovery.GatewayIngress, e, 0), ""
	}
	var gw *Gateway
	if in.Gateway != nil {
		gw = in.Gateway(e.Object)
	}
	if gw == nil || gw.DeletionTimestamp != nil {
		return nil, "does not exist"
	}
	if why := unprogrammed(gw); why != "" {
		return nil, why
	}
	b.addresses(&f, b.gatewayPoints(gw))
	if len(f.targets) == 0 {
		return nil, "no address yet"
	}
	return gather(f.targets, discovery.GatewayAPI, e, gw.onlyPort()), ""
}

// onlyPort is the number of the Gateway's port if it has one, else 0.
func (g *Gateway) onlyPort() uint16 {
	var only int32
	for _, l := range g.Spec.Listeners {
		if only != 0 && only != l.Port {
			return 0
		}
		only = l.Port
	}
	if only < 1 || only > 65535 {
		return 0
	}
	return uint16(only)
}

// entryService finds the addresses of a Service: its load balancer's, else
// those of nodes.
func (b *builder) entryService(e *SetEntry) ([]discovery.Gateway, string) {
	b.ips = b.clusterIPs(discovery.KindClusterIP)
	ports := b.ports(discovery.KindClusterIP)
	i := 0 // a Service with one port means that one
	if e.Gateway.Port != 0 {
		i = slices.IndexFunc(ports, func(p port) bool { return p.number == e.Gateway.Port })
	} else if len(ports) != 1 {
		i = -1
	}
	if b.Service.Spec.Type == corev1.ServiceTypeLoadBalancer {
		if found := b.loadBalancer(); len(found) > 0 {
			var only uint16
			if i >= 0 {
				only = ports[i].number
			}
			return gather(targetsOf(found), discovery.GatewayLoadBalancer, e, only), ""
		}
	}
	if !UsesNodes(b.Service) {
		if b.Service.Spec.Type == corev1.ServiceTypeLoadBalancer {
			return nil, "no address yet"
		}
		return nil, "is of type " + clip(string(b.Service.Spec.Type)) + ": only LoadBalancer and NodePort are reached from outside"
	}
	switch {
	case i < 0 && e.Gateway.Port == 0:
		return nil, "has several ports: say in watcher.yaml which one it is (port)"
	case i < 0 || ports[i].node == 0:
		return nil, fmt.Sprintf("has no node port for port %d", e.Gateway.Port)
	}
	found := b.nodes(b.endpoints())
	if len(found) == 0 {
		return nil, "no address yet"
	}
	for n := range found {
		found[n].Port, found[n].Weight, found[n].Check = ports[i].node, e.Gateway.Weight, e.Gateway.Check
	}
	return found, ""
}

func targetsOf(gateways []discovery.Gateway) []target {
	var out []target
	for _, g := range gateways {
		t := target{host: g.Hostname}
		if len(g.Addresses) > 0 {
			t.addr = g.Addresses[0]
		}
		out = append(out, t)
	}
	return out
}

// gather makes one gateway of all addresses, so that a weight is that of the
// entry however many there are, and one of each host name.
func gather(targets []target, kind discovery.GatewayKind, e *SetEntry, only uint16) []discovery.Gateway {
	g := e.Gateway
	g.Kind, g.Addresses, g.Hostname = kind, nil, ""
	if g.Port == 0 {
		g.Port = only
	}
	var out []discovery.Gateway
	for _, t := range targets {
		if t.addr.IsValid() {
			g.Addresses = append(g.Addresses, t.addr)
			continue
		}
		named := g
		named.Addresses, named.Hostname = nil, t.host
		out = append(out, named)
	}
	if len(g.Addresses) > 0 {
		slices.SortFunc(g.Addresses, netip.Addr.Compare)
		g.Addresses = slices.Compact(g.Addresses)
		g.Addresses = g.Addresses[:min(len(g.Addresses), discovery.MaxAddresses)]
		out = append(out, g)
	}
	slices.SortFunc(out, func(x, y discovery.Gateway) int { return strings.Compare(x.Hostname, y.Hostname) })
	return out
}
