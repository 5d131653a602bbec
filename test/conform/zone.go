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

// ports are the SRV records of some ways.
func (z *Zone) ports(name string, key discovery.Key, ways []way) {
	for i := range ways {
		w := &ways[i]
		for _, p := range w.service.Ports {
			owners := []string{name}
			if p.Name != "" {
				owners = append(owners, "_"+p.Name+"._"+p.Protocol.String()+"."+name)
				z.touch(owners[1])
			}
			for _, owner := range owners {
				if w.tier != out {
					z.add(owner, dns.TypeSRV, &dns.SRV{
						Priority: uint16(w.tier), Weight: uint16(w.weight), Port: w.at(p),
						Target: w.cluster + "." + string(key) + "." + z.Origin,
					})
				}
			}
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
