package export

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
)

// front is what leads from outside to the Service at addresses of its own: an
// Ingress, or a Gateway with the routes that are attached to it.
type front struct {
	name    string // "Ingress shop/web"
	kind    discovery.GatewayKind
	targets []target
	// offers are the ports at the front that lead to a port of the Service, by
	// its index; secure ones among them expect TLS.
	offers map[int][]offer
	// hosts are the names that it must be asked for, unless any will do.
	hosts map[string]bool
	any   bool
}

type offer struct {
	port   uint16
	secure bool
}

// fronts are the gateways of the Ingresses, Gateways and routes that lead to
// the Service; false when none does.
func (b *builder) fronts(out *discovery.Service, ports []port) bool {
	var skipped []string
	fronts := append(b.ingresses(ports, &skipped), b.attached(ports, &skipped)...)
	if len(fronts) == 0 { // a broken one among others is no news
		for _, text := range skipped[:min(len(skipped), maxSkipped)] {
			b.problem("%s", text)
		}
		return false
	}
	b.behind(out, ports, fronts)
	return true
}

// tooMany notes that not all that leads to the Service is looked at.
func (b *builder) tooMany(what string) {
	b.more = true
	b.problem("only the first %d %s that lead to it are looked at", maxFronts, what)
}

// behind makes gateways of fronts. A port of the model has one number at all
// gateways, and a gateway one for all ports that have none: the second counts
// where fronts differ, and where some ports lead nowhere, as gateways are
// checked at the first port.
func (b *builder) behind(out *discovery.Service, ports []port, fronts []front) {
	chosen := make([]map[int]uint16, len(fronts))
	agree, tcp := true, false
	for i, f := range fronts {
		chosen[i] = f.choose(ports)
		agree = agree && maps.Equal(chosen[i], chosen[0])
		for index := range chosen[i] {
			tcp = tcp || ports[index].Protocol == discovery.TCP
		}
	}
	for i, f := range fronts {
		for _, t := range f.targets {
			g := t.gateway(f.kind)
			if !agree || len(chosen[i]) < len(ports) {
				g.Port = chosen[i][slices.Min(slices.Collect(maps.Keys(chosen[i])))]
			}
			out.Gateways = append(out.Gateways, g)
		}
		b.hostHint(f, out.Aliases)
	}
	if agree {
		for i, p := range chosen[0] {
			ports[i].Gateway = p
		}
	}
	b.own(out, ports)
	for i := range out.Gateways {
		if !tcp { // what the Service speaks over TCP is not behind them
			out.Gateways[i].Check = discovery.CheckNone
		}
	}
}

// choose picks the front's port for each port of the Service that it leads to:
// the one of the same number, since who asks for an address only connects
// there; else one with TLS; else the lowest.
func (f *front) choose(ports []port) map[int]uint16 {
	out := map[int]uint16{}
	for i, offers := range f.offers {
		best := slices.MinFunc(offers, func(x, y offer) int {
			return cmp.Or(
				first(x.port == ports[i].number, y.port == ports[i].number),
				first(x.secure, y.secure),
				cmp.Compare(x.port, y.port),
			)
		})
		out[i] = best.port
	}
	return out
}

// first orders what is before what is not.
func first(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return -1
	}
	return 1
}

func (f *front) offer(index int, o offer) {
	if f.offers == nil {
		f.offers = map[int][]offer{}
	}
	if !slices.Contains(f.offers[index], o) {
		f.offers[index] = append(f.offers[index], o)
	}
}

// answersTo notes names that the front answers to; none means any.
func (f *front) answersTo(hosts ...string) {
	if len(hosts) == 0 {
		f.any = true
	}
	for _, host := range hosts {
		if host == "" || host == "*" {
			f.any = true
			continue
		}
		if f.hosts == nil {
			f.hosts = map[string]bool{}
		}
		f.hosts[strings.ToLower(host)] = true
	}
}

// hostHint tells of a front that knows the Service by other host names than
// those that clients have for it: it is reached, and answers 404.
func (b *builder) hostHint(f front, aliases []string) {
	if f.any || b.more {
		return
	}
	own := b.Service.Name + "." + b.Service.Namespace + "."
	for host := range f.hosts {
		rest, wild := strings.CutPrefix(host, "*.")
		switch {
		case strings.HasPrefix(host, own), slices.Contains(aliases, host):
			return
		case wild && (strings.HasPrefix(rest, b.Service.Namespace+".") || !strings.Contains(rest, ".")):
			return
		case wild && slices.ContainsFunc(aliases, func(a string) bool { return strings.HasSuffix(a, "."+rest) }):
			return
		}
	}
	hosts := slices.Sorted(maps.Keys(f.hosts))
	b.problem("%s answers to the host name %s only: add a rule for %sglobal, or make that name an alias (annotation %s)",
		f.name, clip(strings.Join(hosts[:min(len(hosts), 3)], ", ")), own, AnnotationAliases)
}

// portNamed is the index of the Service's port of that number or name.
func portNamed(ports []port, number int32, name string) (int, bool) {
	i := slices.IndexFunc(ports, func(p port) bool {
		if number != 0 {
			return int32(p.number) == number
		}
		return name != "" && p.name == name
	})
	return i, i >= 0
}

// addresses reads what a status says of where a front is.
func (b *builder) addresses(f *front, points []point) {
	for _, p := range points {
		t, err := b.ingressPoint(p.ip, p.host)
		if err != nil {
			b.problem("%s: %v", f.name, err)
			continue
		}
		f.targets = append(f.targets, t)
	}
}

// point is an address of a status: one of the two.
type point struct{ ip, host string }

// speaks tells whether a protocol can carry a port of the Service.
func speaks(p port, udp bool) bool {
	return (p.Protocol == discovery.UDP) == udp && p.Protocol != discovery.SCTP
}
