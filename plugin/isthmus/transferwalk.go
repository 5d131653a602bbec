package isthmus

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// serviceTypes are the types besides addresses that a service's name may have.
var serviceTypes = []uint16{dns.TypeSRV, dns.TypeHTTPS, dns.TypeSVCB}

// addService adds all names of a service. What it answers is built for this alone:
// kept with the entries as queries keep it, it would fill the memory with what
// nobody asked for.
func (t *zoneTransfer) addService(e *discovery.Entry) {
	a := t.view.build(e, t.facts, &t.parts)
	if t.zone.kind == zoneMCS {
		t.addImported(a)
		return
	}
	key, ports := string(e.Key), portNames(e)
	t.addName(key, a, -1, ports)
	for i, c := range e.Candidates {
		b, one := a.only(i)
		t.addName(c.Cluster+"."+key, b, one, ports)
		t.addHosts(a, i)
		if way := &b.ways[one]; way.tier != locality.TierOut { // else its gateways' names have no address
			for _, p := range way.ports {
				t.addAddresses(strconv.Itoa(int(p.port))+"."+labelGatewayPort+"."+c.Cluster+"."+key, p.way.v4, p.way.v6)
			}
		}
	}
	for _, host := range t.aliases(e) {
		t.addName(host, a, -1, ports)
	}
}

// addName adds the records of a service, or of one candidate, under a name.
func (t *zoneTransfer) addName(relative string, a *answers, one int, ports []portName) {
	if relative+"."+t.zone.origin != t.zone.server { // a service ns.dns
		v4, v6 := unionOf(a, one)
		t.addAddresses(relative, v4, v6)
		for _, qtype := range serviceTypes {
			t.addAnswer(relative, qtype, func(q *query) (*dns.Msg, result) { return q.serviceFrom(nameOf(nameService, a, one), a) })
		}
	}
	n := nameOf(namePort, a, one)
	for _, p := range ports {
		n.port, n.proto = p.name, p.protocol.String()
		prefix := "_" + n.port + "._" + n.proto + "."
		for _, qtype := range []uint16{dns.TypeSRV, dns.TypeSVCB} {
			t.addAnswer(prefix+relative, qtype, func(q *query) (*dns.Msg, result) { return q.serviceFrom(n, a) })
		}
	}
	t.addWebPorts(relative, a, one)
}

// addWebPorts adds the names of ports that URLs with a port number lead to.
func (t *zoneTransfer) addWebPorts(relative string, a *answers, one int) {
	var done []uint16
	n := nameOf(namePort, a, one)
	n.proto = labelHTTPS[1:]
	for _, c := range a.entry.Candidates {
		for _, p := range c.Service.Ports {
			if p.Protocol != discovery.TCP || slices.Contains(done, p.Port) || len(done) == maxSRV {
				continue
			}
			done = append(done, p.Port)
			n.port = strconv.Itoa(int(p.Port))
			t.addAnswer("_"+n.port+"."+labelHTTPS+"."+relative, dns.TypeHTTPS, func(q *query) (*dns.Msg, result) { return q.serviceFrom(n, a) })
		}
	}
}

// nameOf is what a name of a service, or of one candidate, is parsed to.
func nameOf(kind nameKind, a *answers, one int) name {
	n := name{kind: kind, key: a.entry.Key}
	if one >= 0 {
		n.cluster = a.entry.Candidates[one].Cluster
		switch kind {
		case nameService:
			n.kind = nameCluster
		case namePort:
			n.kind = nameClusterPort
		}
	}
	return n
}

// unionOf are all addresses that the next queries for a service may be answered
// with, or those of one candidate.
func unionOf(a *answers, one int) (v4, v6 []net.IP) {
	for i := range a.ways {
		switch {
		case one >= 0 && (i != one || a.ways[i].tier == locality.TierOut):
			continue
		case one >= 0:
			return a.ways[i].v4, a.ways[i].v6
		}
		if in(a.v4, i) {
			v4 = append(v4, a.ways[i].v4...)
		}
		if in(a.v6, i) {
			v6 = append(v6, a.ways[i].v6...)
		}
	}
	return v4, v6
}

// addAddresses adds the A and AAAA records of a name, each once: clusters may
// share a gateway.
func (t *zoneTransfer) addAddresses(relative string, v4, v6 []net.IP) {
	owner, ok := t.has(relative)
	if !ok || t.ended {
		return
	}
	seen := make(map[string]bool, len(v4)+len(v6))
	for _, ip := range v4 {
		if !seen[string(ip)] {
			seen[string(ip)] = true
			t.add(&dns.A{Hdr: t.headerOf(owner, dns.TypeA), A: ip})
		}
	}
	for _, ip := range v6 {
		if !seen[string(ip)] {
			seen[string(ip)] = true
			t.add(&dns.AAAA{Hdr: t.headerOf(owner, dns.TypeAAAA), AAAA: ip})
		}
	}
}

// addHosts adds the names of a headless service's endpoints in one cluster.
func (t *zoneTransfer) addHosts(a *answers, one int) {
	c := a.entry.Candidates[one]
	record, ways := clusterRecord(t.parts, c.Cluster), newFinder(t.facts, t.parts, t.view.names.Addrs)
	done := map[string]bool{"": true}
	for _, e := range c.Service.Endpoints {
		if done[e.Hostname] {
			continue
		}
		done[e.Hostname] = true
		way, _ := ways.host(record, c.Service, e.Hostname, &a.ways[one])
		t.addAddresses(e.Hostname+"."+c.Cluster+"."+string(a.entry.Key), way.v4, way.v6)
	}
}

// aliases lists the aliases of a service that are answered in the zone, without
// the zone.
func (t *zoneTransfer) aliases(e *discovery.Entry) []string {
	table := t.view.link.Table()
	var hosts []string
	for _, c := range e.Candidates {
		for _, host := range c.Service.Aliases {
			relative, within := strings.CutSuffix(host+".", "."+t.zone.origin)
			if !within || slices.Contains(hosts, relative) {
				continue
			}
			if has := table.Alias(host); has == nil || has.Key != e.Key || !t.zone.mayAlias(host) {
				continue
			}
			n := parseName(relative)
			switch n.kind {
			case nameServer, nameVersion, nameClusters:
				continue
			}
			if n.key != "" && table.Lookup(n.key) != nil || t.isGateway(n) {
				continue
			}
			hosts = append(hosts, relative)
		}
	}
	return hosts
}

func (t *zoneTransfer) isGateway(n name) bool {
	if t.index == nil || n.kind != nameService || n.namespace != labelGateway {
		return false
	}
	cluster, _, _ := strings.Cut(string(n.key), ".")
	_, is := t.index.clusters[cluster]
	return is
}

// addGateways adds the names of clusters' gateways, which only a plain zone
// has.
func (t *zoneTransfer) addGateways() {
	if t.index == nil || t.zone.kind != zonePlain {
		return
	}
	for _, cluster := range slices.Sorted(maps.Keys(t.index.clusters)) {
		if t.view.link.Table().Lookup(discovery.MakeKey(labelGateway, cluster)) == nil {
			way := t.index.clusters[cluster]
			t.addAddresses(cluster+"."+labelGateway, way.v4, way.v6)
		}
	}
}

// addImported adds the names of a service in an MCS zone.
func (t *zoneTransfer) addImported(a *answers) {
	i := a.imported()
	if !i.exists {
		return
	}
	name := string(a.entry.Key) + "." + labelSvc
	v4, v6 := unionOf(a, -1)
	if i.all.reach.OK() {
		v4, v6 = i.all.v4, i.all.v6
	}
	t.addAddresses(name, v4, v6)
	for at := range i.hosts {
		t.addAddresses(i.hosts[at].owner+"."+labelSvc, i.hosts[at].way.v4, i.hosts[at].way.v6)
	}
	n := nameOf(namePort, a, -1)
	for _, p := range portNames(a.entry) {
		n.port, n.proto = p.name, p.protocol.String()
		t.addAnswer("_"+n.port+"._"+n.proto+"."+name, dns.TypeSRV, func(q *query) (*dns.Msg, result) {
			return q.importedPort(a, i, n)
		})
	}
}

// portNames lists the named ports of a service in all clusters, at most as many
// as an answer has.
func portNames(e *discovery.Entry) []portName {
	var ports []portName
	for _, c := range e.Candidates {
		for _, p := range c.Service.Ports {
			id := portName{p.Name, p.Protocol}
			if p.Name != "" && len(ports) < maxSRV && !slices.Contains(ports, id) {
				ports = append(ports, id)
			}
		}
	}
	return ports
}

// addPointers adds the PTR records of a reverse zone.
func (t *zoneTransfer) addPointers() {
	for addr := range t.index.all {
		owner, err := dns.ReverseAddr(addr.String())
		if err != nil || t.zones.match(owner) != t.zone {
			continue
		}
		if t.ended {
			return
		}
		for _, target := range t.index.names(addr, t.zone.names.origin) {
			t.add(&dns.PTR{Hdr: t.headerOf(owner, dns.TypePTR), Ptr: target})
		}
	}
}
