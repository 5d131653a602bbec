package discovery

import "net/netip"

// GatewayKind is where a gateway's address comes from.
type GatewayKind uint8

// The kinds; the numbers are those of the wire.
const (
	GatewayStatic       GatewayKind = 1 // written in watcher.yaml or an annotation
	GatewayLoadBalancer GatewayKind = 2
	GatewayNodePort     GatewayKind = 3
	GatewayIngress      GatewayKind = 4
	GatewayAPI          GatewayKind = 5 // gateway.networking.k8s.io
)

// String is the kind's name in _why and in the API.
func (k GatewayKind) String() string {
	switch k {
	case GatewayStatic:
		return "static"
	case GatewayLoadBalancer:
		return "loadbalancer"
	case GatewayNodePort:
		return "nodeport"
	case GatewayIngress:
		return "ingress"
	case GatewayAPI:
		return "gateway"
	}
	return "unknown"
}

// Check is how other clusters test whether a gateway is up.
type Check uint8

// The checks; the numbers are those of the wire.
const (
	CheckTCP  Check = 1
	CheckTLS  Check = 2
	CheckHTTP Check = 3
	CheckNone Check = 4
)

// String is the check's name in records, metrics and the API.
func (c Check) String() string {
	switch c {
	case 0, CheckTCP:
		return "tcp"
	case CheckTLS:
		return "tls"
	case CheckHTTP:
		return "http"
	case CheckNone:
		return "none"
	}
	return "unknown"
}

// Gateway is an address in front of a cluster that clients elsewhere can
// reach: either IP addresses or a host name that the viewer resolves.
type Gateway struct {
	Addresses []netip.Addr
	Hostname  string // without the trailing dot; only when Addresses is empty
	Port      uint16 // for ports that set none of their own; 0 = the service's port
	Kind      GatewayKind
	Zone      string
	Weight    uint32 // relative to the other gateways; 0 means 1
	Check     Check  // 0 means CheckTCP
}

// CheckPort is the port at which a gateway is checked on behalf of a service:
// where a client finds the service's first TCP port, else the gateway's own.
// 0 means that there is nothing to connect to. s is nil for a gateway on its
// own.
func (g *Gateway) CheckPort(s *Service) uint16 {
	if s == nil {
		return g.Port
	}
	for _, p := range s.Ports {
		switch {
		case p.Protocol != TCP:
			continue
		case p.Gateway != 0:
			return p.Gateway
		case g.Port != 0:
			return g.Port
		}
		return p.Port
	}
	return g.Port
}

// DefaultGatewaySet is the set of services that name none.
const DefaultGatewaySet = "default"

// GatewaySet is a named list of gateways. Services refer to a set by name, so
// that many services don't repeat addresses.
type GatewaySet struct {
	Name     string
	Gateways []Gateway
}
