package isthmus

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	coreparse "github.com/coredns/coredns/plugin/pkg/parse"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/miekg/dns"
)

// surroundings are the Corefile as a stanza of ours sees it: CoreDNS shows a
// plugin that another one is there (dnsserver.Config.Handler), but neither its
// arguments nor its line, nor other server blocks.
type surroundings struct {
	file   string // for tokens that name none; an import's do
	own    caddyfile.ServerBlock
	others []caddyfile.ServerBlock
	// check is the examination that this is part of, nil when a server starts.
	check *examination
	// last tells whether no plugin comes after ours; known when all are set up.
	last func() bool
}

// instanceMark is a key of an instance's storage, to find the instance by.
type instanceMark struct{}

// lookAround reads the Corefile that is being set up or checked. The result has
// no blocks where neither is so.
func lookAround(c *caddy.Controller) surroundings {
	s := surroundings{file: c.File()}
	input := instanceCorefile(c)
	if input == nil {
		if s.check = checking.Load(); s.check == nil {
			return s
		}
		input = s.check.input
	}
	blocks, err := caddyfile.Parse(input.Path(), bytes.NewReader(input.Body()), nil)
	if err != nil || c.ServerBlockIndex >= len(blocks) { // CoreDNS has parsed the same before
		return s
	}
	s.own = blocks[c.ServerBlockIndex]
	s.others = slices.Delete(blocks, c.ServerBlockIndex, c.ServerBlockIndex+1)
	return s
}

// instanceCorefile finds the text that a server is set up from, nil for none.
func instanceCorefile(c *caddy.Controller) caddy.Input {
	mark := new(surroundings)
	c.Set(instanceMark{}, mark)
	for _, i := range caddy.Instances() {
		i.StorageMu.RLock()
		found := i.Storage[instanceMark{}] == mark
		i.StorageMu.RUnlock()
		if found {
			return i.Caddyfile()
		}
	}
	return nil
}

// has tells whether a plugin stands in the stanza's server block.
func (s *surroundings) has(directive string) bool { return len(s.own.Tokens[directive]) > 0 }

// directive reads a plugin's stanza in the same server block; its first token
// is the plugin's name.
func (s *surroundings) directive(name string) caddyfile.Dispenser {
	return caddyfile.NewDispenserTokens(s.file, s.own.Tokens[name])
}

// at is where a plugin's stanza begins: "FILE:LINE".
func (s *surroundings) at(directive string) string {
	d := s.directive(directive)
	d.Next()
	return fmt.Sprintf("%s:%d", d.File(), d.Line())
}

// origin is a zone that a server block answers for, and where.
type origin struct{ transport, zone, port string }

// origins are those of a server block's keys, in the form that CoreDNS gives
// them (dnsserver.dnsContext.InspectServerBlocks).
func origins(keys []string) []origin {
	var all []origin
	for _, key := range keys {
		scheme, rest := coreparse.Transport(key)
		hosts, port, err := plugin.SplitHostPort(rest)
		if err != nil {
			continue // CoreDNS has refused it
		}
		if port == "" {
			port = defaultPort(scheme)
		}
		for _, host := range hosts {
			all = append(all, origin{scheme, plugin.Name(host).Normalize(), port})
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
func (o origin) String() string {
	s := net.JoinHostPort(o.zone, o.port)
	if o.transport != transport.DNS {
		s = o.transport + "://" + s
	}
	return s
}

// serves tells whether queries for a zone, or for a part of it, come to where
// the origin is.
func (o origin) serves(zone string) bool {
	return dns.IsSubDomain(o.zone, zone) || dns.IsSubDomain(zone, o.zone)
}

// takesFrom tells whether queries for a zone that would come to one origin go
// to another, which is nearer to it.
func (o origin) takesFrom(from origin, zone string) bool {
	return o.transport == from.transport && o.port == from.port && o.zone != from.zone &&
		dns.IsSubDomain(from.zone, o.zone) && dns.IsSubDomain(o.zone, zone)
}

// keys writes origins one after the other.
func keys(all []origin) string {
	var list []string
	for _, o := range all {
		list = append(list, o.String())
	}
	return strings.Join(list, " ")
}
