package export

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/isthmus-dns/isthmus/discovery"
)

// endpoint is one address behind the Service, with the node that holds it.
type endpoint struct {
	discovery.Endpoint
	node string
}

// clusterIPs are the virtual addresses, the primary one first.
func (b *builder) clusterIPs(kind discovery.Kind) []netip.Addr {
	if kind == discovery.KindHeadless {
		return nil
	}
	spec := &b.Service.Spec
	texts := spec.ClusterIPs
	if len(texts) == 0 && spec.ClusterIP != "" {
		texts = []string{spec.ClusterIP}
	}
	var out []netip.Addr
	for _, text := range texts {
		a, err := netip.ParseAddr(text)
		if err != nil || !plain(a) {
			b.problem("cluster IP %q is not a unicast address", clip(text))
			continue
		}
		if a = a.Unmap(); len(out) < discovery.MaxAddresses && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		b.problem("no cluster IP")
	}
	return out
}

// plain tells the addresses that discovery admits. Of a mapped IPv4 address
// netip sees some properties and not others (::ffff:0.0.0.0).
func plain(a netip.Addr) bool {
	a = a.Unmap()
	return a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast()
}

// endpoints are those of all slices, each address once, ordered by address.
// While an endpoint moves from one slice to another it is in both for a
// moment, maybe with an old state in one: ready wins, so that a move does not
// look like an outage.
func (b *builder) endpoints() []endpoint {
	n := 0
	for _, slice := range b.Slices {
		if slice != nil {
			n += len(slice.Endpoints)
		}
	}
	out := make([]endpoint, 0, n)
	for _, slice := range b.Slices {
		if slice == nil || slice.AddressType == discoveryv1.AddressTypeFQDN {
			continue
		}
		for i := range slice.Endpoints {
			if e, ok := b.endpoint(&slice.Endpoints[i]); ok {
				out = append(out, e)
			}
		}
	}
	slices.SortFunc(out, func(x, y endpoint) int {
		if c := x.Addr.Compare(y.Addr); c != 0 {
			return c
		}
		if x.Ready != y.Ready {
			if x.Ready {
				return -1
			}
			return 1
		}
		// Rare enough. Any fixed order will do; the fuller entry first.
		return cmp.Or(strings.Compare(y.node, x.node), strings.Compare(y.Zone, x.Zone), strings.Compare(y.Hostname, x.Hostname))
	})
	return slices.CompactFunc(out, func(x, y endpoint) bool { return x.Addr == y.Addr })
}

// endpoint reads the first address only: the API gives the others no meaning,
// and kube-proxy does not look at them.
func (b *builder) endpoint(e *discoveryv1.Endpoint) (endpoint, bool) {
	if len(e.Addresses) == 0 {
		return endpoint{}, false
	}
	a, err := netip.ParseAddr(e.Addresses[0])
	if err != nil || !plain(a) {
		b.problem("endpoint address %q is not a unicast address", clip(e.Addresses[0]))
		return endpoint{}, false
	}
	out := endpoint{
		Endpoint: discovery.Endpoint{Addr: a.Unmap(), Zone: b.zone(value(e.Zone)), Ready: b.ready(&e.Conditions)},
		node:     value(e.NodeName),
	}
	if host := value(e.Hostname); host != "" && discovery.ValidLabel(host) == nil {
		out.Hostname = host
	}
	return out, true
}

// ready follows the comments of discovery.k8s.io/v1 EndpointConditions: nil
// ready means ready, and an endpoint that terminates is not ready, whatever
// the slice says, unless the Service publishes all.
func (b *builder) ready(c *discoveryv1.EndpointConditions) bool {
	if b.Service.Spec.PublishNotReadyAddresses {
		return true
	}
	if c.Terminating != nil && *c.Terminating {
		return false
	}
	return c.Ready == nil || *c.Ready
}

// countZones counts endpoints per zone, ordered by zone. A Pod of a
// dual-stack Service has an endpoint per address family; counted twice it
// would draw twice the traffic of another cluster's, so the family that shows
// more counts.
func countZones(endpoints []endpoint) []discovery.ZoneCount {
	byFamily := [2]map[string]discovery.ZoneCount{{}, {}}
	for _, e := range endpoints {
		counts := byFamily[0]
		if e.Addr.Is6() {
			counts = byFamily[1]
		}
		c := counts[e.Zone]
		c.Total++
		if e.Ready {
			c.Ready++
		}
		counts[e.Zone] = c
	}
	four, six := byFamily[0], byFamily[1]
	for zone, c := range six {
		four[zone] = discovery.ZoneCount{Ready: max(c.Ready, four[zone].Ready), Total: max(c.Total, four[zone].Total)}
	}
	var out []discovery.ZoneCount
	for zone, c := range four {
		out = append(out, discovery.ZoneCount{Zone: zone, Ready: min(c.Ready, discovery.MaxCount), Total: min(c.Total, discovery.MaxCount)})
	}
	slices.SortFunc(out, func(x, y discovery.ZoneCount) int { return strings.Compare(x.Zone, y.Zone) })
	return poolExcess(out)
}

// poolExcess counts what lies in more zones than a record holds as "no zone".
func poolExcess(counts []discovery.ZoneCount) []discovery.ZoneCount {
	if len(counts) <= discovery.MaxZones {
		return counts
	}
	// "" sorts first, so it is among those that are kept if it is there.
	kept := slices.Clone(counts[:discovery.MaxZones-1])
	pooled := discovery.ZoneCount{}
	for _, c := range counts[discovery.MaxZones-1:] {
		pooled.Ready = min(pooled.Ready+c.Ready, discovery.MaxCount)
		pooled.Total = min(pooled.Total+c.Total, discovery.MaxCount)
	}
	if kept[0].Zone == "" {
		kept[0].Ready = min(kept[0].Ready+pooled.Ready, discovery.MaxCount)
		kept[0].Total = min(kept[0].Total+pooled.Total, discovery.MaxCount)
		return kept
	}
	return slices.Insert(kept, 0, pooled)
}

// zone is the text if it is a label value, else "". Most endpoints name the
// zone of the one before.
func (b *builder) zone(text string) string {
	if text != b.zoneText {
		b.zoneText, b.zoneValue = text, labelValue(text)
	}
	return b.zoneValue
}

// labelValue is the text if it is a Kubernetes label value, else "". The
// segments of a locality are just that.
func labelValue(text string) string {
	if strings.Contains(text, "/") {
		return ""
	}
	if _, err := discovery.ParseLocality(text); err != nil {
		return ""
	}
	return text
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Owner is the Service that a slice belongs to; name is "" when it belongs to
// none.
func Owner(slice *discoveryv1.EndpointSlice) (namespace, name string) {
	return slice.Namespace, slice.Labels[discoveryv1.LabelServiceName]
}

// UsesNodes tells whether the record of a Service can depend on nodes, so
// that it must be built anew when a node changes.
func UsesNodes(svc *corev1.Service) bool {
	if svc.Spec.Type != corev1.ServiceTypeNodePort && svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return false
	}
	return slices.ContainsFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.NodePort != 0 })
}
