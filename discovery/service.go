package discovery

import (
	"fmt"
	"net/netip"
	"strings"
)

// Kind is what sort of Service a record describes.
type Kind uint8

// The kinds; the numbers are those of the wire.
const (
	KindClusterIP Kind = 1 // has a virtual IP inside its cluster
	KindHeadless  Kind = 2 // clusterIP: None; its Pods are its addresses
	KindExternal  Kind = 3 // lives outside Kubernetes (ServiceEntry)
)

// Protocol is a transport protocol of a port.
type Protocol uint8

// The protocols; the numbers are those of the wire.
const (
	TCP  Protocol = 1
	UDP  Protocol = 2
	SCTP Protocol = 3
)

// String is the protocol's SRV label without the underscore (RFC 2782).
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return fmt.Sprintf("protocol-%d", uint8(p))
}

// Port is one port of a service.
type Port struct {
	Name     string // "" for an unnamed port
	Protocol Protocol
	Port     uint16 // the port at the service's own address
	// Gateway is the port at the service's gateway: a NodePort or a
	// load balancer's port. 0 means the gateway's own port, and when that
	// is 0 too, Port.
	Gateway uint16
}

// ZoneCount is how many endpoints a service has in one zone of its cluster.
type ZoneCount struct {
	Zone         string // "" when the endpoints name none
	Ready, Total uint32
}

// Endpoint is one address behind a service. A record carries endpoints only
// where somebody may connect to them: headless services, clusters on a shared
// network, and external services. At most MaxEndpoints of them.
type Endpoint struct {
	Addr     netip.Addr
	Hostname string // a headless endpoint's own label, "" for none
	Zone     string
	Ready    bool
}

// Service is one cluster's record of one service.
type Service struct {
	Namespace, Name string // DNS labels, lower case
	Ports           []Port
	ClusterIPs      []netip.Addr
	Counts          []ZoneCount
	GatewaySet      string    // the cluster's set that serves this service; "" = "default"
	Gateways        []Gateway // the service's own gateways; they win over GatewaySet
	Aliases         []string  // full host names without the trailing dot
	Endpoints       []Endpoint
	ExportedAt      int64  // Unix seconds; the oldest export wins conflicts (KEP-1645)
	Weight          uint32 // relative to other clusters, per ready endpoint; 0 means 1
	Kind            Kind   // last come the small ones: there are 100,000 of these
	ClientAffinity  bool   // sessionAffinity: ClientIP
}

// Key names a service across clusters: "name.namespace", the order of DNS.
// Both are single labels, so the form is unambiguous.
type Key string

// MakeKey joins the two labels.
func MakeKey(namespace, name string) Key { return Key(name + "." + namespace) }

// Split is the inverse of MakeKey.
func (k Key) Split() (namespace, name string) {
	name, namespace, _ = strings.Cut(string(k), ".")
	return namespace, name
}

// Key is the service's key.
func (s *Service) Key() Key { return MakeKey(s.Namespace, s.Name) }

// Ready is the number of ready endpoints in all zones.
func (s *Service) Ready() uint32 {
	var n uint32
	for _, c := range s.Counts {
		n += c.Ready
	}
	return n
}

// Total is the number of endpoints in all zones, ready or not.
func (s *Service) Total() uint32 {
	var n uint32
	for _, c := range s.Counts {
		n += c.Total
	}
	return n
}
