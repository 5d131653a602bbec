package isthmus

import (
	"slices"
	"strconv"

	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// maxGatewayPorts limits the ports that a cluster's gateways are divided by.
// Two are a migration or a plain and a TLS listener; each is a record of its
// own for each of the service's ports.
const maxGatewayPorts = 8

// gatewayPort is those gateways of a cluster that listen on one port.
type gatewayPort struct {
	port   uint16 // 0 for gateways that name none: they listen on the service's own
	weight uint64 // of all gateways in it that have an address to be answered
	way    addresses
}

// dividePorts groups gateways by the port they name; left are the same ones with
// the addresses that are answered, which the weight of a group is for. What
// counts else is what they name, not which of them have an address just now, or
// are up: a name that a client holds for the TTL must go on meaning the same,
// and lead somewhere.
func dividePorts(found, left []foundGateway) []gatewayPort {
	if !slices.ContainsFunc(found, func(g foundGateway) bool { return g.Port != found[0].Port }) {
		return nil
	}
	var ports []gatewayPort
	for _, g := range found {
		known := slices.ContainsFunc(ports, func(p gatewayPort) bool { return p.port == g.Port })
		if known || len(ports) == maxGatewayPorts {
			continue
		}
		p := gatewayPort{port: g.Port, way: gather(standing(listeningOn(g.Port, found)))}
		for _, o := range listeningOn(g.Port, left) {
			if len(o.addrs) > 0 {
				p.weight += uint64(max(o.Weight, 1))
			}
		}
		ports = append(ports, p)
	}
	return ports
}

// listeningOn are those gateways that name a port.
func listeningOn(port uint16, gateways []foundGateway) []foundGateway {
	return slices.DeleteFunc(slices.Clone(gateways), func(g foundGateway) bool { return g.Port != port })
}

// port is where a client finds a service's port at these addresses, if they
// are not divided for it.
func (a *addresses) port(p *discovery.Port) uint16 {
	if a.reach != locality.ByGateway {
		return p.Port
	}
	return portAt(a.gatewayPort, p)
}

// divided tells whether a service's port is another one at some gateways than
// at others.
func (a *addresses) divided(p *discovery.Port) bool {
	for i := range a.ports {
		if portAt(a.ports[i].port, p) != portAt(a.ports[0].port, p) {
			return true
		}
	}
	return false
}

// portAt is a service's port at a gateway whose own port is given.
func portAt(gateway uint16, p *discovery.Port) uint16 {
	switch {
	case p.Gateway != 0:
		return p.Gateway
	case gateway != 0:
		return gateway
	}
	return p.Port
}

// at returns the addresses of the gateways whose own port is given; nil when
// the way leads through none such.
func (a *addresses) at(port uint16) *addresses {
	for i := range a.ports {
		if a.ports[i].port == port {
			return &a.ports[i].way
		}
	}
	if len(a.ports) == 0 && a.throughGateway() && a.gatewayPort == port {
		return a
	}
	return nil
}

// throughGateway tells whether the way leads through gateways, be it that none
// has an address now.
func (a *addresses) throughGateway() bool {
	switch a.reach {
	case locality.ByGateway, locality.Unresolved, locality.Refused, locality.NoHost:
		return true
	}
	return len(a.ports) > 0
}

// gatewayPort answers the name of those gateways of one cluster that listen on one
// port, which SRV and SVCB records point to. It means what the gateway names
// itself; 0 are those that name none.
func (q *query) gatewayPort(a *answers, one int, port string) (*dns.Msg, result) {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || !isNumber(port, uint16(number)) {
		return nil, resultNXDomain
	}
	way := a.ways[one].at(uint16(number))
	switch {
	case way == nil:
		return nil, resultNXDomain
	case q.qtype == dns.TypeANY && way.reach.OK() && a.ways[one].tier != locality.TierOut:
		return q.minimal()
	case q.qtype != dns.TypeA && q.qtype != dns.TypeAAAA:
		return nil, resultNoData
	case a.ways[one].tier == locality.TierOut:
		return nil, a.nothingOf(one)
	case way.reach == locality.Unresolved:
		return nil, resultServFail
	}
	m := q.addressReply(way, q.random())
	if m == nil {
		return nil, resultNoData
	}
	q.stale = a.ways[one].stale
	return m, resultAnswer
}
