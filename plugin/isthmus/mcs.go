package isthmus

import (
	"strings"

	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/discovery"
)

// An MCS zone has the names and records of KEP-1645, "Kubernetes DNS-Based
// Multicluster Service Discovery" version 1.0.0, and nothing else: no aliases,
// which could pass for services there, no _why, and no name of a ClusterIP
// service in one cluster (section 2.3.4).

// labelSvc is what stands between a namespace and the zone.
const labelSvc = "svc"

// mcsVersion is the version of the specification that dns-version tells
// (section 2.2).
const mcsVersion = "1.0.0"

// mcs answers a name in an MCS zone.
func (q *query) mcs(table *discovery.Table) (*dns.Msg, result) {
	rest := q.zone.relative(q.name)
	if rest == labelSvc {
		return nil, emptyIf(hasServices(table))
	}
	n := parseMCS(rest)
	switch n.kind {
	case nameApex:
		return q.apex()
	case nameServer:
		return q.nameServer()
	case nameServerParent:
		return nil, resultNoData
	case nameVersion:
		return q.version()
	case nameNamespace:
		return nil, emptyIf(table.Namespace(n.namespace))
	}
	if n.key == "" {
		return nil, resultNXDomain
	}
	e := table.Lookup(n.key)
	if e == nil {
		return nil, resultNXDomain
	}
	return q.imported(n, q.view.answers(e, q.where))
}

// emptyIf is the result for an empty non-terminal (RFC 8020).
func emptyIf(exists bool) result {
	if exists {
		return resultNoData
	}
	return resultNXDomain
}

func hasServices(table *discovery.Table) bool {
	for _, c := range table.Clusters() {
		if c.Services > 0 {
			return true
		}
	}
	return false
}

// parseMCS takes apart a name relative to its MCS zone, as parseName does for
// a plain one. The label svc alone is the caller's.
func parseMCS(rest string) name {
	switch rest {
	case "":
		return name{kind: nameApex}
	case labelVersion:
		return name{kind: nameVersion}
	case labelDNS:
		return name{kind: nameServerParent}
	case labelServer + "." + labelDNS:
		return name{kind: nameServer}
	}
	rest, found := strings.CutSuffix(rest, "."+labelSvc)
	if !found || rest == "" || rest[0] == '.' {
		return name{}
	}
	head, namespace := cutLast(rest)
	if head == "" {
		return name{kind: nameNamespace, namespace: namespace}
	}
	head, svc := cutLast(head)
	n := name{kind: nameService, namespace: namespace, key: discovery.Key(rest[len(rest)-len(svc)-1-len(namespace):])}
	if head == "" {
		return n
	}
	// What is left are one or two labels: _port._proto or host.cluster.
	first, second := cutLast(head)
	if strings.IndexByte(first, '.') >= 0 {
		return name{}
	}
	if strings.HasPrefix(second, "_") {
		if !isProto(second) || second == labelHTTPS || first != "" && (len(first) < 2 || first[0] != '_') {
			return name{}
		}
		n.kind, n.proto = nameProto, second[1:]
		if first != "" {
			n.kind, n.port = namePort, first[1:]
		}
		return n
	}
	n.kind, n.cluster = nameCluster, second
	if first != "" {
		n.kind, n.host = nameHost, first
	}
	return n
}

// imported answers a name of a service that exists.
func (q *query) imported(n name, a *answers) (*dns.Msg, result) {
	i := a.imported()
	if !i.exists {
		return nil, resultNXDomain
	}
	q.found, q.chosen = a, -1
	switch n.kind {
	case nameService:
		return q.importedService(a, i)
	case nameProto:
		return nil, emptyIf(a.hasNamedPort(n))
	case namePort:
		return q.importedPort(a, i, n)
	case nameCluster:
		return nil, emptyIf(i.hasHostIn(n.cluster))
	case nameHost:
		return q.importedHost(i, n)
	}
	return nil, resultNXDomain
}

// importedService answers a service's own name: an address for each endpoint
// of a headless service that can be reached (section 2.4.1), else the plain
// zone's choice.
func (q *query) importedService(a *answers, i *imported) (*dns.Msg, result) {
	switch q.qtype {
	case dns.TypeA, dns.TypeAAAA:
	case dns.TypeANY:
		return q.minimal()
	default:
		return nil, resultNoData
	}
	if !i.all.reach.OK() {
		return q.addresses(a, -1)
	}
	m := q.addressReply(&i.all, q.random())
	if m == nil {
		return nil, resultNoData
	}
	q.stale = i.all.stale
	q.metrics.count(i.all.choice())
	return m, resultAnswer
}

// importedHost answers the name of one endpoint of a headless service, which
// exists only while the endpoint is ready (section 2.4.1).
func (q *query) importedHost(i *imported, n name) (*dns.Msg, result) {
	h := i.host(n.cluster, n.host)
	switch {
	case h == nil:
		return nil, resultNXDomain
	case q.qtype == dns.TypeANY && h.way.reach.OK():
		return q.minimal()
	case q.qtype != dns.TypeA && q.qtype != dns.TypeAAAA:
		return nil, resultNoData
	}
	q.chosen = h.candidate
	if m := q.addressReply(h.way, q.random()); m != nil {
		q.stale = h.way.stale
		return m, resultAnswer
	}
	return nil, h.nothing()
}
