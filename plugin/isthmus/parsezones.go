package isthmus

import (
	"slices"
	"strings"

	"github.com/coredns/coredns/plugin"
)

// zones reads the zones, by default those of the server block. The root, where
// a stanza would answer for the whole DNS, stands for the default zone.
func (p *parser) zones(args []string) error {
	fromBlock := len(args) == 0
	if fromBlock {
		args = p.ServerBlockKeys
	}
	for _, arg := range args {
		origins, err := p.originsOf(arg)
		if err != nil {
			return err
		}
		p.origins = append(p.origins, origins...)
	}
	for i, origin := range p.origins {
		if origin == "." {
			if !fromBlock {
				return p.Err("the root can't be a zone of isthmus: leave it out for global.")
			}
			p.origins[i] = defaultZone
		}
	}
	return nil
}

// mcs names zones that follow KEP-1645. They may stand among the stanza's
// zones or not.
func (p *parser) mcs() error {
	args := p.RemainingArgs()
	if len(args) == 0 {
		return p.ArgErr()
	}
	for _, arg := range args {
		origins, err := p.originsOf(arg)
		if err != nil {
			return err
		}
		if origins[0] == "." || isReverse(origins[0]) {
			return p.Errf("mcs zone %q: want a domain such as clusterset.local", arg)
		}
		p.mcsZones = append(p.mcsZones, origins...)
	}
	return nil
}

// originsOf reads one zone: a domain name, or the CIDR of a reverse zone, which
// is several zones where it doesn't end with a label (10.0.0.0/9 is 128).
func (p *parser) originsOf(arg string) ([]string, error) {
	origins := plugin.Host(arg).NormalizeExact()
	if len(origins) == 0 {
		return nil, p.Errf("zone %q is not a domain name", arg)
	}
	for _, origin := range origins {
		if origin == "" || strings.Contains(origin, `\`) {
			return nil, p.Errf("zone %q is not a domain name", arg)
		}
		if z := newZone(origin); len(z.mailbox) > maxName {
			return nil, p.Errf("zone %q leaves no room for %s", arg, z.mailbox[:len(z.mailbox)-len(z.origin)-1])
		}
	}
	return origins, nil
}

// finishZones makes the zones when all of them are read: the first plain one of
// the Corefile is where the others' records point to.
func (p *parser) finishZones() error {
	var first *zone
	for _, origin := range p.origins {
		if !isReverse(origin) && !slices.Contains(p.mcsZones, origin) {
			first = newZone(origin)
			break
		}
	}
	all := slices.Concat(p.origins, p.mcsZones)
	slices.Sort(all)
	for _, origin := range slices.Compact(all) {
		switch {
		case first != nil && origin == first.origin:
			p.out.zones = append(p.out.zones, first)
		case slices.Contains(p.mcsZones, origin):
			p.out.zones = append(p.out.zones, newMCSZone(origin, first))
		case !isReverse(origin):
			p.out.zones = append(p.out.zones, newZone(origin))
		case first == nil:
			return p.Errf("reverse zone %s needs a zone that its records point to: name one, such as global", origin)
		case !parseReverse(origin).IsValid():
			// Such as 0/25.2.0.192.in-addr.arpa (RFC 2317), which holds no address.
			return p.Errf("reverse zone %s stands for no address or prefix: name it by a CIDR, such as 192.0.2.0/25", origin)
		default:
			p.out.zones = append(p.out.zones, newReverseZone(origin, first))
		}
	}
	return nil
}
