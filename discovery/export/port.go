package export

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/discovery"
)

// port is a port of the model beside the Service's own numbers for it.
type port struct {
	discovery.Port
	name   string // as the Service has it
	number uint16 // at the Service; Port.Port of a headless one is its Pods'
	node   uint16 // 0: none
}

// ports are the Service's, in its own order: the first is the main one for
// whoever knows of one port only. A headless Service's are those of its Pods,
// as nothing between translates (Kubernetes DNS specification, section 2.4).
func (b *builder) ports(kind discovery.Kind) []port {
	var out []port
	for i := range b.Service.Spec.Ports {
		p := &b.Service.Spec.Ports[i]
		protocol, known := protocolOf(p.Protocol)
		switch {
		case !known:
			b.problem("port %d: protocol %q is unknown", p.Port, clip(string(p.Protocol)))
			continue
		case p.Port < 1 || p.Port > 65535:
			b.problem("port %d: not a port number", p.Port)
			continue
		case len(out) == discovery.MaxPorts:
			b.problem("only the first %d ports are exported", discovery.MaxPorts)
			return out
		}
		name := p.Name
		if name != "" && discovery.ValidLabel(name) != nil {
			b.problem("port %d: name %q is not a DNS label", p.Port, clip(name))
			name = ""
		}
		converted := port{Port: discovery.Port{Name: name, Protocol: protocol, Port: uint16(p.Port)}, name: p.Name, number: uint16(p.Port)}
		if kind == discovery.KindHeadless {
			converted.Port.Port = b.target(p)
		}
		if p.NodePort > 0 && p.NodePort <= 65535 {
			converted.node = uint16(p.NodePort)
		}
		out = append(out, converted)
	}
	return out
}

func protocolOf(p corev1.Protocol) (discovery.Protocol, bool) {
	switch p {
	case corev1.ProtocolTCP, "": // "" is TCP until the API server sets it
		return discovery.TCP, true
	case corev1.ProtocolUDP:
		return discovery.UDP, true
	case corev1.ProtocolSCTP:
		return discovery.SCTP, true
	}
	return 0, false
}

func modelPorts(ports []port) []discovery.Port {
	var out []discovery.Port
	for _, p := range ports {
		out = append(out, p.Port)
	}
	return out
}

// checkFor is how gateways that only this Service uses are tested: a TCP
// connection tells nothing of a Service that speaks no TCP.
func checkFor(ports []port) discovery.Check {
	for _, p := range ports {
		if p.Protocol == discovery.TCP {
			return 0 // the default, CheckTCP
		}
	}
	return discovery.CheckNone
}
