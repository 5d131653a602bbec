package conform

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/discovery"
)

// TTL is that of all records, and the SOA record's minimum.
const TTL = 5

// Empty is the type of a record that stands where a name exists and has no
// record, which a zone file can't say otherwise. Nobody asks for it.
const Empty = dns.TypeEUI48

// Zone is the table as a plain zone.
type Zone struct {
	Origin string           // with the trailing dot
	Nodes  map[string]*Node // by full name, lower case, with the trailing dot
}

// Node is what a name has.
type Node struct {
	Records []dns.RR
	// Choices are the alternatives where a query gets one of several sets of
	// addresses: sorted, by type. Records holds all of them.
	Choices map[uint16][][]string
	// Explains tells that the records are there for people to read; Records
	// has but one that stands for them.
	Explains bool
}

// types are those of its records, but for Empty.
func (n *Node) types() []uint16 {
	var all []uint16
	for _, rr := range n.Records {
		if t := rr.Header().Rrtype; t != Empty {
			all = append(all, t)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Zone renders the table below an origin.
func (m *Model) Zone(origin string) *Zone {
	z := &Zone{Origin: origin, Nodes: map[string]*Node{}}
	server := "ns.dns." + origin
	z.add(origin, dns.TypeSOA, &dns.SOA{Ns: server, Mbox: "hostmaster." + origin, Serial: 1, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: TTL})
	z.add(origin, dns.TypeNS, &dns.NS{Ns: server})
	z.addresses(server, [][]netip.Addr{addresses("127.0.0.1")})
	z.add("dns-version."+origin, dns.TypeTXT, &dns.TXT{Txt: []string{"1.1.0"}})
	z.explain("_clusters." + origin)
	for _, key := range m.keys() {
		z.service(m, key)
	}
	for host, key := range m.aliases() {
		if strings.HasSuffix("."+host+".", "."+origin) {
			z.names(host+".", key, m.ways(key))
		}
	}
	return z
}

// Text is the zone in a file's form.
func (z *Zone) Text() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(z.Nodes)) {
		for _, rr := range z.Nodes[name].Records {
			fmt.Fprintln(&b, rr)
		}
	}
	return b.String()
}

// Exists tells whether there is a name, be it an empty non-terminal.
func (z *Zone) Exists(name string) bool {
	if z.Nodes[name] != nil {
		return true
	}
	for other := range z.Nodes {
		if strings.HasSuffix(other, "."+name) {
			return true
		}
	}
	return false
}

func (m *Model) keys() []discovery.Key {
	var all []discovery.Key
	for _, c := range m.Clusters {
		for _, s := range c.Services {
			all = append(all, s.Key())
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// aliases finds each alias's service: the own cluster's, else the oldest.
func (m *Model) aliases() map[string]discovery.Key {
	type claim struct {
		key   discovery.Key
		other bool
		since int64
	}
	claims := map[string]claim{}
	for _, c := range m.Clusters {
		for _, s := range c.Services {
			for _, host := range s.Aliases {
				mine := claim{s.Key(), c.Record.Name != m.Viewer.Cluster, s.ExportedAt}
				theirs, taken := claims[host]
				rank := func(c claim) int {
					if c.other {
						return 1
					}
					return 0
				}
				if !taken || cmp.Or(cmp.Compare(rank(mine), rank(theirs)), cmp.Compare(mine.since, theirs.since), cmp.Compare(mine.key, theirs.key)) < 0 {
					claims[host] = mine
				}
			}
		}
	}
	all := map[string]discovery.Key{}
	for host, c := range claims {
		all[host] = c.key
	}
	return all
}

func (z *Zone) service(m *Model, key discovery.Key) {
	name := string(key) + "." + z.Origin
	ways := m.ways(key)
	z.names(name, key, ways)
	for i := range ways {
		w := &ways[i]
		below := w.cluster + "." + name
		z.touch(below)
		if w.tier != out {
			z.addresses(below, w.sets)
		}
		z.ports(below, key, ways[i:i+1])
		for _, d := range w.doors {
			door := fmt.Sprintf("%d.gateway.%s", d.port, below)
			z.touch(door)
			if w.tier != out {
				z.addresses(door, d.sets)
			}
		}
	}
	for _, c := range m.Clusters {
		for _, s := range c.Services {
			if s.Key() != key || s.Kind != discovery.KindHeadless {
				continue
			}
			for _, e := range s.Endpoints {
				if e.Hostname != "" {
					host := e.Hostname + "." + c.Record.Name + "." + name
					z.touch(host)
					z.addresses(host, m.host(c.Record, s, e.Hostname))
				}
			}
		}
	}
}

// names are those that a service has under its own name and under an alias.
func (z *Zone) names(name string, key discovery.Key, ways []way) {
	z.touch(name)
	z.addresses(name, chosen(ways, false))
	z.addresses(name, chosen(ways, true))
	z.ports(name, key, ways)
	z.explain("_why." + name)
}

// ports are the records of some ways that tell ports.
func (z *Zone) ports(name string, key discovery.Key, ways []way) {
	for i := range ways {
		w := &ways[i]
		target := w.cluster + "." + string(key) + "." + z.Origin
		for _, p := range w.service.Ports {
			z.srv(name, target, w, p)
			if p.Name != "" {
				owner := "_" + p.Name + "._" + p.Protocol.String() + "." + name
				z.touch(owner)
				z.srv(owner, target, w, p)
				z.binding(owner, dns.TypeSVCB, target, w, w.places(p))
			}
			if p.Protocol == discovery.TCP {
				z.touch(fmt.Sprintf("_%d._https.%s", p.Port, name))
			}
		}
		z.web(name, target, w, ways)
		z.anyPort(name, target, w)
	}
}

func (z *Zone) srv(owner, target string, w *way, p discovery.Port) {
	for _, at := range w.places(p) {
		if w.tier != out {
			z.add(owner, dns.TypeSRV, &dns.SRV{Priority: uint16(w.tier), Weight: uint16(at.weight), Port: at.port, Target: at.label + target})
		}
	}
}

// web adds HTTPS records: for the port that is https best, and at each one's
// number, if the nearest clusters all have it (plugin's README, "HTTPS and
// SVCB").
func (z *Zone) web(name, target string, w *way, ways []way) {
	nearest := out
	for i := range ways {
		if t := ways[i].tier; t != out && (nearest == out || t < nearest) {
			nearest = t
		}
	}
	allHave := func(numbers ...uint16) bool {
		for i := range ways {
			there := ways[i].webPorts()
			if len(numbers) > 0 {
				there = slices.DeleteFunc(there, func(p discovery.Port) bool { return !slices.Contains(numbers, p.Port) })
			}
			if ways[i].tier == nearest && nearest != out && len(there) == 0 {
				return false
			}
		}
		return true
	}
	for i, p := range w.webPorts() {
		if i == 0 && allHave() {
			z.binding(name, dns.TypeHTTPS, target, w, w.places(p))
		}
		if allHave(p.Port) {
			z.binding(fmt.Sprintf("_%d._https.%s", p.Port, name), dns.TypeHTTPS, target, w, w.places(p))
		}
	}
}

// webPorts are the ports that are https, the surest first.
func (w *way) webPorts() []discovery.Port {
	rank := func(p discovery.Port) int {
		switch {
		case p.Protocol != discovery.TCP:
			return 0
		case p.Port == 443:
			return 3
		case p.Name == "https":
			return 2
		case strings.HasPrefix(p.Name, "https-"):
			return 1
		}
		return 0
	}
	ports := slices.DeleteFunc(slices.Clone(w.service.Ports), func(p discovery.Port) bool { return rank(p) == 0 })
	slices.SortStableFunc(ports, func(a, b discovery.Port) int { return rank(b) - rank(a) })
	return ports
}

// anyPort adds SVCB to a name that tells no port: with the port if there is but
// one, without one if all keep their numbers.
func (z *Zone) anyPort(name, target string, w *way) {
	kept, one := true, true
	ports := w.service.Ports
	for _, p := range ports {
		there := w.places(p)
		kept = kept && len(there) == 1 && there[0].port == p.Port
		one = one && slices.EqualFunc(there, w.places(ports[0]), func(a, b place) bool { return a.label == b.label && a.port == b.port })
	}
	switch {
	case kept && len(ports) != 1:
		z.binding(name, dns.TypeSVCB, target, w, []place{{addrs: slices.Concat(w.sets...)}})
	case one:
		z.binding(name, dns.TypeSVCB, target, w, w.places(ports[0]))
	}
}

// binding adds SVCB or HTTPS records (RFC 9460) with up to eight addresses of
// each family.
func (z *Zone) binding(owner string, rrtype uint16, target string, w *way, places []place) {
	for _, at := range places {
		if w.tier == out {
			continue
		}
		rr := dns.SVCB{Priority: uint16(w.tier) + 1, Target: at.label + target}
		if at.port != 0 {
			rr.Value = append(rr.Value, &dns.SVCBPort{Port: at.port})
		}
		var four dns.SVCBIPv4Hint
		var six dns.SVCBIPv6Hint
		for _, a := range at.addrs {
			switch {
			case a.Is4() && len(four.Hint) < 8:
				four.Hint = append(four.Hint, a.AsSlice())
			case a.Is6() && len(six.Hint) < 8:
				six.Hint = append(six.Hint, a.AsSlice())
			}
		}
		if len(four.Hint) > 0 {
			rr.Value = append(rr.Value, &four)
		}
		if len(six.Hint) > 0 {
			rr.Value = append(rr.Value, &six)
		}
		if rrtype == dns.TypeHTTPS {
			z.add(owner, rrtype, &dns.HTTPS{SVCB: rr})
		} else {
			z.add(owner, rrtype, &rr)
		}
	}
}

func (z *Zone) touch(name string) *Node {
	n := z.Nodes[name]
	if n == nil {
		n = &Node{Choices: map[uint16][][]string{}}
		z.Nodes[name] = n
		n.Records = append(n.Records, &dns.EUI48{Hdr: header(name, Empty), Address: 1})
	}
	return n
}

func header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: TTL}
}

// add adds a record once.
func (z *Zone) add(name string, rrtype uint16, rr dns.RR) {
	n := z.touch(name)
	*rr.Header() = header(name, rrtype)
	if !slices.ContainsFunc(n.Records, func(o dns.RR) bool { return dns.IsDuplicate(o, rr) }) {
		n.Records = append(n.Records, rr)
	}
}

func (z *Zone) explain(name string) {
	z.add(name, dns.TypeTXT, &dns.TXT{Txt: []string{"for people"}})
	z.Nodes[name].Explains = true
}

// addresses adds all alternatives, and notes them where there are several.
func (z *Zone) addresses(name string, sets [][]netip.Addr) {
	for _, six := range []bool{false, true} {
		qtype, alternatives := dns.TypeA, family(sets, six)
		if six {
			qtype = dns.TypeAAAA
		}
		for _, set := range alternatives {
			var data []string
			for _, a := range set {
				data = append(data, a.String())
				if six {
					z.add(name, dns.TypeAAAA, &dns.AAAA{AAAA: a.AsSlice()})
				} else {
					z.add(name, dns.TypeA, &dns.A{A: a.AsSlice()})
				}
			}
			if len(alternatives) > 1 {
				slices.Sort(data)
				n := z.touch(name)
				n.Choices[qtype] = append(n.Choices[qtype], slices.Compact(data))
			}
		}
	}
}
