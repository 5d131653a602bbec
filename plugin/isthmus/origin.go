package isthmus

import (
	"net"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	coreparse "github.com/coredns/coredns/plugin/pkg/parse"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/miekg/dns"
)

// Origin is a zone that a server block answers for, and where. It is comparable.
// The program that embeds us reads server blocks by it, too.
type Origin struct{ Transport, Zone, Port string }

// Origins are those of some of a server block's keys, in the form that CoreDNS
// gives them (dnsserver.dnsContext.InspectServerBlocks). Keys that CoreDNS
// refuses have none.
func Origins(keys ...string) []Origin {
	var all []Origin
	for _, key := range keys {
		scheme, rest := coreparse.Transport(key)
		hosts, port, err := plugin.SplitHostPort(rest)
		if err != nil {
			continue
		}
		if port == "" {
			port = defaultPort(scheme)
		}
		for _, host := range hosts {
			all = append(all, Origin{scheme, plugin.Name(host).Normalize(), port})
		}
	}
	return all
}

func defaultPort(scheme string) string {
	switch scheme {
	case transport.TLS:
		return transport.TLSPort
	case transport.QUIC:
		return transport.QUICPort
	case transport.GRPC:
		return transport.GRPCPort
	case transport.HTTPS, transport.HTTPS3:
		return transport.HTTPSPort
	}
	return dnsserver.Port
}

// String is a server block's key as people write it.
func (o Origin) String() string {
	s := net.JoinHostPort(o.Zone, o.Port)
	if o.Transport != transport.DNS {
		s = o.Transport + "://" + s
	}
	return s
}

// serves tells whether queries for a zone, or for a part of it, come to where
// the origin is.
func (o Origin) serves(zone string) bool {
	return dns.IsSubDomain(o.Zone, zone) || dns.IsSubDomain(zone, o.Zone)
}

// takesFrom tells whether queries for a zone that would come to one origin go
// to another, which is nearer to it.
func (o Origin) takesFrom(from Origin, zone string) bool {
	return o.Transport == from.Transport && o.Port == from.Port && o.Zone != from.Zone &&
		dns.IsSubDomain(from.Zone, o.Zone) && dns.IsSubDomain(o.Zone, zone)
}
