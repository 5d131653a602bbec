package isthmus

import (
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
)

// nameKind is what a name below a zone stands for, by its form alone.
type nameKind uint8

const (
	nameUnknown      nameKind = iota // no form of ours: it can only be an alias, if no service is above it
	nameApex                         // the zone itself
	nameNamespace                    // ns
	nameService                      // svc.ns
	nameProto                        // _tcp.svc.ns, an empty non-terminal
	namePort                         // _http._tcp.svc.ns
	nameCluster                      // cluster.svc.ns
	nameClusterProto                 // _tcp.cluster.svc.ns, an empty non-terminal
	nameClusterPort                  // _http._tcp.cluster.svc.ns
	nameHost                         // host.cluster.svc.ns
	nameGateway                      // 15443.gateway.cluster.svc.ns
	nameScope                        // us-west1-a.pin._zone.svc.ns, or with a cluster before svc
	nameScopeParent                  // pin._zone.svc.ns and _zone.svc.ns, empty non-terminals
	nameWhy                          // _why.svc.ns
	nameClusters                     // _clusters
	nameVersion                      // dns-version, which may be a namespace too
	nameServerParent                 // dns, an empty non-terminal which may be a namespace too
	nameServer                       // ns.dns
)

// Labels that have a meaning of their own. Those without an underscore are the
// Kubernetes DNS specification's.
const (
	labelWhy         = "_why"
	labelClusters    = "_clusters"
	labelVersion     = "dns-version"
	labelDNS         = "dns"
	labelServer      = "ns"
	labelGatewayPort = "gateway"
	labelHTTPS       = "_https"
)

// name is a query's name taken apart. Its strings are parts of the name that
// was parsed, lower case; those that its kind doesn't have are empty.
type name struct {
	kind           nameKind
	region, prefer bool          // of nameScope
	key            discovery.Key // svc.ns
	namespace      string
	cluster        string
	host           string // of nameScope the zone or region
	port, proto    string // without the underscore; of nameGateway the port is a number
}

// parseName takes apart a name relative to its zone: lower case, no trailing
// dot, "" for the zone itself. It looks at the form only: whether there is
// such a service is the table's to say, and since the table holds valid labels
// only, a label that is not valid ("*", an escaped dot) finds nothing there.
func parseName(rest string) name {
	if rest == "" {
		return name{kind: nameApex}
	}
	if rest[0] == '.' { // an empty label; the wire has none
		return name{}
	}
	// Labels are taken from the right, where names share them.
	head, last := cutLast(rest)
	if head == "" {
		return parseSingle(last)
	}
	head, svc := cutLast(head)
	n := name{kind: nameService, namespace: last, key: discovery.Key(rest[len(rest)-len(svc)-1-len(last):])}
	if head == "" {
		if string(n.key) == labelServer+"."+labelDNS {
			n.kind = nameServer
		}
		return n
	}
	head, third := cutLast(head)
	if strings.HasPrefix(third, "_") {
		return parseScoped(n, head, third, nameProto, namePort)
	}
	n.kind, n.cluster = nameCluster, third
	if head == "" {
		return n
	}
	head, fourth := cutLast(head)
	if strings.HasPrefix(fourth, "_") {
		return parseScoped(n, head, fourth, nameClusterProto, nameClusterPort)
	}
	if head == "" {
		n.kind, n.host = nameHost, fourth
		return n
	}
	if fourth != labelGatewayPort || strings.IndexByte(head, '.') >= 0 {
		return n.unknown()
	}
	n.kind, n.port = nameGateway, head
	return n
}

func parseSingle(label string) name {
	switch label {
	case labelClusters:
		return name{kind: nameClusters}
	case labelVersion:
		return name{kind: nameVersion, namespace: label}
	case labelDNS:
		return name{kind: nameServerParent, namespace: label}
	}
	return name{kind: nameNamespace, namespace: label}
}

// parseScoped reads what stands before a service or a cluster's service from
// the first label with an underscore on.
func parseScoped(n name, head, label string, proto, port nameKind) name {
	if label == labelWhy && head == "" && proto == nameProto {
		n.kind = nameWhy
		return n
	}
	if isScope(label) {
		return parseScope(n, head, label)
	}
	if !isProto(label) {
		return n.unknown()
	}
	n.proto = label[1:]
	if head == "" {
		n.kind = proto
		return n
	}
	head, label = cutLast(head)
	if head != "" || len(label) < 2 || label[0] != '_' {
		return n.unknown()
	}
	n.kind, n.port = port, label[1:]
	return n
}

// unknown is a name below a service that has no form of ours. It keeps the key:
// what lies below a service's name is that service's, and nobody's alias.
func (n name) unknown() name { return name{namespace: n.namespace, key: n.key} }

// cutLast splits off the last label.
func cutLast(s string) (head, last string) {
	if i := strings.LastIndexByte(s, '.'); i >= 0 {
		return s[:i], s[i+1:]
	}
	return "", s
}

// aliasOf splits the prefix that a service's alias may carry (_why, _port and
// _proto, or a scope) from the host name. What is no such prefix belongs to the
// host name. Both are without a trailing dot.
func aliasOf(full string) (n name, host string) {
	if strings.IndexByte(full, '_') < 0 {
		return name{kind: nameService}, full
	}
	first, host, _ := strings.Cut(full, ".")
	if first == labelWhy {
		return name{kind: nameWhy}, host
	}
	if isProto(first) {
		return name{kind: nameProto, proto: first[1:]}, host
	}
	second, after, _ := strings.Cut(host, ".")
	if len(first) > 1 && first[0] == '_' && isProto(second) {
		return name{kind: namePort, port: first[1:], proto: second[1:]}, after
	}
	return scopedAlias(full)
}

// isProto tells whether a label is a transport protocol's, or _https, before
// which stands a port's number (RFC 9460 section 9.1).
func isProto(label string) bool {
	return label == "_tcp" || label == "_udp" || label == "_sctp" || label == labelHTTPS
}
