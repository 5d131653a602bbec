package export

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/discovery"
)

// nodes are the gateways of a node port: the nodes that hold ready endpoints,
// so that externalTrafficPolicy: Local works and no second hop is needed. The
// first of them by name, so that the choice stays while others come and go. A
// cordoned node is about to be drained, and what is sent there dies soon: it
// serves if there is no other, as its Pods do.
func (b *builder) nodes(endpoints []endpoint) []discovery.Gateway {
	limit := b.Opts.MaxNodes
	if limit <= 0 {
		limit = defaultMaxNodes
	}
	limit = min(limit, discovery.MaxGateways)
	var out, cordoned []discovery.Gateway
	var skipped []string
	for _, name := range holders(endpoints) {
		if len(out) == limit {
			break
		}
		g, drained, why := b.node(name)
		switch {
		case why != "":
			skipped = append(skipped, "node "+clip(name)+": "+why)
		case drained:
			cordoned = append(cordoned, g)
		default:
			out = append(out, g)
		}
	}
	if len(out) == 0 {
		out = cordoned[:min(len(cordoned), limit)]
	}
	if len(out) == 0 { // a broken node among others is no news
		for _, text := range skipped[:min(len(skipped), maxSkipped)] {
			b.problem("%s", text)
		}
	}
	return out
}

// maxSkipped nodes are enough to see why none is left.
const maxSkipped = 4

// holders are the names of the nodes with ready endpoints, sorted.
func holders(endpoints []endpoint) []string {
	var names []string
	for _, e := range endpoints {
		if e.Ready && e.node != "" {
			names = append(names, e.node)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// node makes a node's gateway and tells whether it is cordoned, or says why it
// can't be one.
func (b *builder) node(name string) (g discovery.Gateway, cordoned bool, why string) {
	var node *corev1.Node
	if b.Nodes != nil {
		node = b.Nodes(name)
	}
	if why := unusable(node); why != "" {
		return discovery.Gateway{}, false, why
	}
	addrs := b.nodeAddrs(node)
	if len(addrs) == 0 {
		return discovery.Gateway{}, false, "no address that can be a gateway"
	}
	return discovery.Gateway{
		Addresses: addrs,
		Kind:      discovery.GatewayNodePort,
		Zone:      labelValue(node.Labels[corev1.LabelTopologyZone]),
	}, node.Spec.Unschedulable, ""
}

// unusable says why a node can't take traffic from outside; "" when it can.
func unusable(node *corev1.Node) string {
	switch {
	case node == nil:
		return "unknown"
	case node.DeletionTimestamp != nil:
		return "being deleted"
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return ""
		}
	}
	return "not ready"
}

// nodeAddrs are the node's addresses of the configured type, sorted.
func (b *builder) nodeAddrs(node *corev1.Node) []netip.Addr {
	switch b.Opts.NodeAddresses {
	case AddressesExternal:
		return b.nodeAddrsOf(node, corev1.NodeExternalIP)
	case AddressesInternal:
		return b.nodeAddrsOf(node, corev1.NodeInternalIP)
	}
	if external := b.nodeAddrsOf(node, corev1.NodeExternalIP); len(external) > 0 {
		return external
	}
	return b.nodeAddrsOf(node, corev1.NodeInternalIP)
}

func (b *builder) nodeAddrsOf(node *corev1.Node, kind corev1.NodeAddressType) []netip.Addr {
	var out []netip.Addr
	for _, a := range node.Status.Addresses {
		if a.Type != kind {
			continue
		}
		addr, err := b.Opts.gatewayAddr(a.Address)
		if err != nil {
			b.problem("node %s: %v", clip(node.Name), err)
			continue
		}
		if b.serves(addr) {
			out = append(out, addr)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	out = slices.Compact(out)
	return out[:min(len(out), discovery.MaxAddresses)]
}

// serves tells whether a node port listens at an address: kube-proxy opens it
// for the Service's address families only, whatever addresses the node has.
// Hand-made manifests may have no cluster IP to tell by.
func (b *builder) serves(a netip.Addr) bool {
	return len(b.ips) == 0 || slices.ContainsFunc(b.ips, func(ip netip.Addr) bool { return ip.Is4() == a.Is4() })
}
