package isthmus

import (
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/discovery"
)

// zoneKind is whose rules the names of a zone follow.
type zoneKind uint8

const (
	zonePlain   zoneKind = iota // ours: svc.ns; see name.go
	zoneMCS                     // KEP-1645's: svc.ns.svc; see mcs.go
	zoneReverse                 // addresses under in-addr.arpa and ip6.arpa; see ptr.go
)

// zone is a domain that a stanza answers for.
type zone struct {
	kind    zoneKind
	origin  string // lower case, with the trailing dot, never the root
	server  string // ns.dns.origin, its name server
	mailbox string // hostmaster.origin, as CoreDNS's plugins have it
	// names is the zone that the records of a zone of another kind point to: the
	// stanza's first plain one. A plain zone is its own; nil where a stanza has
	// only MCS zones.
	names *zone
}

func newZone(origin string) *zone {
	z := &zone{
		origin:  origin,
		server:  labelServer + "." + labelDNS + "." + origin,
		mailbox: "hostmaster." + origin,
	}
	z.names = z
	return z
}

// newMCSZone makes a zone with KEP-1645's names; names may be nil.
func newMCSZone(origin string, names *zone) *zone {
	z := newZone(origin)
	z.kind, z.names = zoneMCS, names
	return z
}

// newReverseZone makes a zone of addresses. Its name server is that of the
// plain zone: a reverse zone holds PTR records and nothing else.
func newReverseZone(origin string, names *zone) *zone {
	return &zone{kind: zoneReverse, origin: origin, server: names.server, mailbox: names.mailbox, names: names}
}

// isReverse tells whether a zone lies in one of the DNS's trees of addresses
// (RFC 1035 section 3.5, RFC 3596 section 2.5).
func isReverse(origin string) bool { return within(arpa4, origin) || within(arpa6, origin) }

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

// parentSide returns the zone that a DS record of a zone's own name would be in:
// the one above, if that is among the zones as well (RFC 4035 section 3.1.4.1).
func (zs zones) parentSide(z *zone, name string) *zone {
	if name != z.origin {
		return z
	}
	if parent := zs.match(name[strings.IndexByte(name, '.')+1:]); parent != nil {
		return parent
	}
	return z
}

// above tells whether a name is one of the zones' own, seen from the zone above,
// or has one of them below it.
func (zs zones) above(name string) bool {
	for _, z := range zs {
		if len(z.origin) >= len(name) && within(name, z.origin) {
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

// haveReverse tells whether one of the zones is a reverse zone.
func (zs zones) haveReverse() bool {
	return slices.ContainsFunc(zs, func(z *zone) bool { return z.kind == zoneReverse })
}

func (zs zones) origins() []string {
	var origins []string
	for _, z := range zs {
		origins = append(origins, z.origin)
	}
	return origins
}

// version is what dns-version tells in this zone.
func (z *zone) version() string {
	if z.kind == zoneMCS {
		return mcsVersion
	}
	return dnsVersion
}
