package isthmus

import (
	"strings"

	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/discovery"
)

// zone is a domain that a stanza answers for.
type zone struct {
	origin  string // lower case, with the trailing dot, never the root
	server  string // ns.dns.origin, its name server
	mailbox string // hostmaster.origin, as CoreDNS's plugins have it
}

func newZone(origin string) *zone {
	return &zone{
		origin:  origin,
		server:  labelServer + "." + labelDNS + "." + origin,
		mailbox: "hostmaster." + origin,
	}
}

// relative returns the name relative to the zone without the trailing dot, ""
// for the zone itself.
func (z *zone) relative(name string) string {
	if len(name) == len(z.origin) {
		return ""
	}
	return name[:len(name)-len(z.origin)-1]
}

// mayAlias tells whether a service may have an alias (lower case, no trailing
// dot, at or below the end of a name in the zone) here: not the zone's own
// names, and nothing so deep that the table doesn't know the domains above it.
func (z *zone) mayAlias(host string) bool {
	if len(host) <= len(z.origin) {
		return false
	}
	rest := host[:len(host)-len(z.origin)]
	return rest != labelVersion && rest != labelServer+"."+labelDNS && strings.Count(rest, ".") <= discovery.AliasParents
}

// zones are the zones of a stanza.
type zones []*zone

// match returns the longest zone that a name (lower case, fully qualified) is
// in, nil if it is in none.
func (zs zones) match(name string) *zone {
	var found *zone
	for _, z := range zs {
		if (found == nil || len(z.origin) > len(found.origin)) && within(z.origin, name) {
			found = z
		}
	}
	return found
}

// above tells whether a name has one of the zones below it.
func (zs zones) above(name string) bool {
	for _, z := range zs {
		if len(z.origin) > len(name) && within(name, z.origin) {
			return true
		}
	}
	return false
}

// within is dns.IsSubDomain for two names that are in lower case already.
func within(origin, name string) bool {
	if !strings.HasSuffix(name, origin) {
		return false
	}
	i := len(name) - len(origin)
	if i == 0 {
		return true
	}
	// The octet before may be a dot that is part of a label ("a\.global.").
	return name[i-1] == '.' && (strings.IndexByte(name, '\\') < 0 || dns.IsSubDomain(origin, name))
}

func (zs zones) origins() []string {
	var origins []string
	for _, z := range zs {
		origins = append(origins, z.origin)
	}
	return origins
}
