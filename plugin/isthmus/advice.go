package isthmus

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/miekg/dns"
)

// What other plugins of a server block do to our answers is the user's to say,
// and most of it works: hosts, rewrite and template override us, loadbalance
// and any change nothing that matters, cache asks us each time (see
// CacheBypassZones). Here is what can't be meant.

// refuse returns an error for what can't work.
func (s *surroundings) refuse() error {
	d := s.directive("autopath")
	for d.Next() {
		if d.Val() == "@"+pluginName {
			return d.Err("autopath @isthmus: a search path begins with the namespace of the Pod that asks, which isthmus doesn't know: " +
				"name a file with the search list instead, as in autopath /etc/resolv.conf")
		}
	}
	return nil
}

// remarks are what works, but not as one may think; each is one line that
// names the file, the line and what to do.
func (s *surroundings) remarks(of stanza) []string {
	if len(s.own.Keys) == 0 {
		return nil
	}
	var all []string
	say := func(directive, format string, args ...any) {
		all = append(all, s.at(directive)+": "+fmt.Sprintf(format, args...))
	}
	served := Origins(s.own.Keys...)
	if plain(served) && !s.has("bufsize") {
		say(pluginName, "bufsize is missing: without it CoreDNS sends UDP answers as large as clients say, and what is larger than a packet gets lost; add bufsize 1232 to the server block")
	}
	s.lost(of, say)
	s.unasked(of.zones, served, say)
	if s.has("minimal") {
		say("minimal", "minimal takes the addresses out of SRV and SVCB answers, and the mark (Extended DNS Error) out of stale ones; remove it unless small answers matter more")
	}
	s.unsigned(of.zones, served, say)
	return all
}

// lost finds a fallthrough that leads nowhere.
func (s *surroundings) lost(of stanza, say func(directive, format string, args ...any)) {
	if len(of.fall.Zones) > 0 && s.last() {
		say(pluginName, "fallthrough has no plugin to fall through to, so that names which don't exist get SERVFAIL; add one that comes later, as in forward . /etc/resolv.conf, or remove fallthrough")
	}
	var foreign []string
	for _, z := range of.fall.Zones {
		if !slices.ContainsFunc(of.zones, func(ours *zone) bool { return dns.IsSubDomain(z, ours.origin) || dns.IsSubDomain(ours.origin, z) }) {
			foreign = append(foreign, z)
		}
	}
	if len(foreign) > 0 {
		say(pluginName, "fallthrough %s does nothing, because the zones of this stanza are %s; name one of them, or a domain in it", few(foreign), few(of.zones.origins()))
	}
}

// unasked finds zones that no query comes for.
func (s *surroundings) unasked(ours zones, served []Origin, say func(directive, format string, args ...any)) {
	var nowhere, blocks []string
	elsewhere := make(map[string][]string) // by the server block that gets the queries
	for _, z := range ours {
		switch by := s.taken(served, z.origin); {
		case by != "":
			if len(elsewhere[by]) == 0 {
				blocks = append(blocks, by)
			}
			elsewhere[by] = append(elsewhere[by], z.origin)
		case !slices.ContainsFunc(served, func(o Origin) bool { return o.serves(z.origin) }) && !s.renames():
			nowhere = append(nowhere, z.origin)
		}
	}
	for _, by := range blocks {
		say(pluginName, "queries for %s go to the server block %s and not to this one; move the stanza there", few(elsewhere[by]), by)
	}
	if len(nowhere) > 0 {
		missing := nowhere[0]
		if len(nowhere) > 1 {
			missing = "them"
		}
		say(pluginName, "no query for %s comes to the server block %s; add %s to its zones", few(nowhere), keys(served), missing)
	}
}

// few writes a list of zones in a line: a CIDR may stand for 128 of them.
func few(list []string) string {
	const shown = 3
	if more := len(list) - shown; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:shown], ", "), more)
	}
	return strings.Join(list, ", ")
}

// plain tells whether a server block speaks DNS over UDP.
func plain(served []Origin) bool {
	return slices.ContainsFunc(served, func(o Origin) bool { return o.Transport == transport.DNS })
}

// renames tells whether a plugin before us may turn other names into ours.
func (s *surroundings) renames() bool { return s.has("rewrite") || s.has("autopath") }

// taken finds a server block that gets a zone's queries instead of ours, ""
// for none. Where an address or a view decides too, nobody can tell.
func (s *surroundings) taken(served []Origin, zone string) string {
	for _, other := range s.others {
		if s.has("bind") || s.has("view") || len(other.Tokens["bind"]) > 0 || len(other.Tokens["view"]) > 0 {
			continue
		}
		for _, o := range Origins(other.Keys...) {
			from := func(ours Origin) bool { return o.takesFrom(ours, zone) }
			back := func(ours Origin) bool { return ours.takesFrom(o, zone) }
			if slices.ContainsFunc(served, from) && !slices.ContainsFunc(served, back) {
				return o.String()
			}
		}
	}
	return ""
}

// unsigned finds zones that dnssec would sign without a key of theirs: with
// none at all it turns NXDOMAIN into an unsigned NODATA, with another zone's
// it makes signatures that nobody accepts.
func (s *surroundings) unsigned(ours zones, served []Origin, say func(directive, format string, args ...any)) {
	if !s.has("dnssec") {
		return
	}
	d := s.directive("dnssec")
	signed, owners, certain := signing(&d)
	if len(signed) == 0 {
		for _, o := range served {
			signed = append(signed, o.Zone)
		}
	}
	for _, z := range ours {
		by := plugin.Zones(signed).Matches(z.origin)
		if by == "" || !certain || slices.Contains(owners, by) {
			continue
		}
		say("dnssec", "dnssec has no key of %s to sign %s with, so that resolvers which validate refuse it; add one by key file, or name the zones that dnssec has keys of", by, z.origin)
	}
}

// signing reads a dnssec stanza: the zones, and the owners of its keys. It is
// certain only if the files are called as dnssec-keygen calls them.
func signing(d *caddyfile.Dispenser) (zones, owners []string, certain bool) {
	certain = true
	for d.Next() {
		for _, arg := range d.RemainingArgs() {
			zones = append(zones, plugin.Host(arg).NormalizeExact()...)
		}
		for d.NextBlock() {
			if d.Val() != "key" {
				continue
			}
			args := d.RemainingArgs()
			if len(args) == 0 || args[0] != "file" {
				return zones, owners, false
			}
			for _, file := range args[1:] {
				owner, _, ok := strings.Cut(filepath.Base(file), "+")
				if !ok || !strings.HasPrefix(owner, "K") {
					return zones, owners, false
				}
				owners = append(owners, plugin.Name(owner[1:]).Normalize())
			}
		}
	}
	return zones, owners, certain
}

// memory keeps a reload from repeating what was said when the Corefile was
// read before.
type memory map[string]int // the reload in which a remark was last due

// news returns the remarks that were not due at the reload before.
func (m memory) news(reload int, remarks []string) []string {
	var fresh []string
	for _, r := range remarks {
		if last, ok := m[r]; !ok || last < reload-1 {
			fresh = append(fresh, r)
		}
		m[r] = reload
	}
	maps.DeleteFunc(m, func(_ string, last int) bool { return last < reload-1 })
	return fresh
}
