package isthmus

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

var (
	longest = strings.Repeat("x", discovery.MaxLabel)
	tooLong = longest + "x"
)

// oddTable has services, namespaces and clusters whose names are each other's,
// or words that names are made of. Each service has an address of its own.
func oddTable(t testing.TB) (table *discovery.Table, owns map[discovery.Key]string) {
	table = demoTable(t)
	owns = map[discovery.Key]string{}
	var services []*discovery.Service
	for i, key := range []discovery.Key{
		"east.west", "west.east", "west.west", "pin.ns", "zone.pin", "prefer.pin", "gateway.gateway", "east.gateway", "dns.dns", "ns.dns",
		"dns-version.dns-version", "ns.dns-version", "ns.ns", "clusters.why", "why.clusters", "tcp.http", "global.global", "xn--bcher-kva.shop",
		"0.1", "in-addr.arpa", discovery.Key(longest + "." + longest), "15443.gateway",
	} {
		namespace, name := key.Split()
		ip := fmt.Sprint("10.1.1.", i+1)
		owns[key] = ip
		services = append(services, service(namespace, name, 1, 1, ip))
	}
	apply(t, table, cluster("west", westLocality), 9, services...)
	elsewhere := func(namespace, name string) *discovery.Service { return service(namespace, name, 1, 1) }
	for i, name := range []string{"pin", "gateway", "ns", "dns"} {
		apply(t, table, cluster(name, eastLocality, gateway(15443, fmt.Sprint("192.0.2.", i+1))), 1,
			elsewhere("west", "east"), elsewhere("dns", "ns"), elsewhere("ns", "pin"), elsewhere("gateway", "gateway"))
	}
	return table, owns
}

// A name has one meaning, whatever services, namespaces and clusters are called.
func TestOddNames(t *testing.T) {
	table, owns := oddTable(t)
	own := func(key discovery.Key) string { return owns[key] }
	const nodata, nxdomain, server = "", "nxdomain", "192.0.2.53"
	tests := []struct{ name, qname, want string }{
		{"a namespace called like a cluster", "east.west.global.", own("east.west")},
		{"a service called like a cluster", "west.east.global.", own("west.east")},
		{"all three alike", "west.west.global.", own("west.west")},
		{"in a cluster of that name", "west.west.west.global.", own("west.west")},
		{"in another", "west.east.west.global.", own("east.west")},
		{"a namespace alone", "west.global.", nodata},
		{"the cluster's name alone", "central.global.", nxdomain},

		{"a service called pin", "pin.ns.global.", own("pin.ns")},
		{"in a cluster called pin", "pin.pin.ns.global.", "192.0.2.1"},
		{"a cluster called pin", "pin.east.west.global.", "192.0.2.1"},
		{"a namespace called pin", "zone.pin.global.", own("zone.pin")},
		{"a zone called pin", "pin.pin._zone.pin.ns.global.", nodata},
		{"a zone, preferred", "pin.prefer._zone.pin.ns.global.", own("pin.ns")},

		{"a service called gateway", "gateway.gateway.global.", own("gateway.gateway")},
		{"in a cluster called gateway", "gateway.gateway.gateway.global.", "192.0.2.2"},
		{"above its gateways' names", "gateway.gateway.gateway.gateway.global.", nodata},
		{"its gateways", "15443.gateway.gateway.gateway.gateway.global.", "192.0.2.2"},
		{"a service in a namespace called gateway", "east.gateway.global.", own("east.gateway")},
		{"a service called as a port is", "15443.gateway.global.", own("15443.gateway")},

		{"the name server before the service", "ns.dns.global.", server},
		{"that service in a cluster", "west.ns.dns.global.", own("ns.dns")},
		{"in a cluster called ns", "ns.ns.dns.global.", "192.0.2.3"},
		{"in a zone", "us-west1-a.pin._zone.ns.dns.global.", own("ns.dns")},
		{"the namespace dns", "dns.global.", nodata},
		{"another service in it", "dns.dns.global.", own("dns.dns")},
		{"the version before the namespace", "dns-version.global.", nodata},
		{"services in it", "ns.dns-version.global.", own("ns.dns-version")},
		{"and one of its name", "dns-version.dns-version.global.", own("dns-version.dns-version")},
		{"a namespace called ns", "ns.ns.global.", own("ns.ns")},

		{"like _why, without underscore", "why.clusters.global.", own("why.clusters")},
		{"a service can't be called _why", "_why.clusters.global.", nxdomain},
		{"a namespace neither", "clusters._why.global.", nxdomain},
		{"like _clusters", "clusters.why.global.", own("clusters.why")},
		{"like a port", "tcp.http.global.", own("tcp.http")},
		{"the zone's own name", "global.global.global.", own("global.global")},

		{"an underscore", "user_service.production.global.", nxdomain},
		{"a leading underscore", "_user-service.production.global.", nxdomain},
		{"a dot in a service's name", `user-service\.production.global.`, nxdomain},
		{"a dot in a namespace", `user-service.pro\.duction.global.`, nxdomain},
		{"a dot in a cluster", `west\.user-service.production.global.`, nxdomain},
		{"a dot before the zone", `user-service.production\.global.`, "next"},
		{"a backslash", `user-service\\.production.global.`, nxdomain},
		{"a NUL", `user-service\000.production.global.`, nxdomain},
		{"a space", `user\032service.production.global.`, nxdomain},
		{"not ASCII", `b\195\188cher.shop.global.`, nxdomain},
		{"punycode", "xn--bcher-kva.shop.global.", own("xn--bcher-kva.shop")},
		{"punycode, upper case", "XN--BCHER-KVA.SHOP.global.", own("xn--bcher-kva.shop")},
		{"upper case", "EAST.WEST.GLOBAL.", own("east.west")},
		{"only digits", "0.1.global.", own("0.1")},
		{"like a reverse name", "in-addr.arpa.global.", own("in-addr.arpa")},
		{"63 octets", longest + "." + longest + ".global.", own(discovery.Key(longest + "." + longest))},
		{"63 octets that nobody has", longest[1:] + "y." + longest + ".global.", nxdomain},
		{"62 octets", longest[1:] + "." + longest + ".global.", nxdomain},
	}
	p := newPlugin(newLink(table))
	p.Next = nil
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			// What a client can ask is what the wire can carry.
			packed, err := question(tc.qname, dns.TypeA).Pack()
			require.NoError(t, err)
			req := new(dns.Msg)
			require.NoError(t, req.Unpack(packed))
			if tc.want == "next" {
				require.Nil(t, p.zones.match(strings.ToLower(req.Question[0].Name)), "another zone's")
				return
			}
			m, rcode := ask(t, p, req)
			require.Equal(t, tc.want == nxdomain, rcode == dns.RcodeNameError)
			if tc.want == nxdomain || tc.want == nodata {
				require.Empty(t, m.Answer)
				return
			}
			require.Equal(t, []string{tc.qname + " " + tc.want}, addressLines(m.Answer))
		})
	}
	_, err := question(tooLong+".production.global.", dns.TypeA).Pack()
	require.Error(t, err, "64 octets are no label: no message can ask for it")
	require.Error(t, service("production", tooLong, 1, 1).Validate(), "and no record can have it")
}

// randomTable has services, clusters and aliases of few and colliding words, so
// that many of them meet.
func randomTable(t testing.TB, r *rand.Rand) *discovery.Table {
	words := []string{"a", "b", "ns", "dns", "gateway", "dns-version", "pin", "443"}
	word := func() string { return words[r.IntN(len(words))] }
	table := discovery.NewTable()
	for i, name := range []string{"west", "a", "b", "gateway", "ns"} {
		c := cluster(name, discovery.Locality{Region: "r", Zone: word()})
		for range r.IntN(4) {
			g := gateway([]uint16{0, 443, 15443}[r.IntN(3)], fmt.Sprintf("192.0.2.%d", 1+r.IntN(250)))
			g.Weight = r.Uint32N(4)
			c.GatewaySets = []discovery.GatewaySet{{Name: discovery.DefaultGatewaySet, Gateways: append(c.GatewaysFor(&discovery.Service{}), g)}}
		}
		if i%2 == 1 {
			c.Network = "net"
		}
		services := map[discovery.Key]*discovery.Service{}
		for range r.IntN(6) {
			s := service(word(), word(), r.Uint32N(3), 3, fmt.Sprintf("10.1.%d.1", 1+r.IntN(250)))
			s.Kind = discovery.Kind(1 + r.IntN(3))
			s.Ports = nil
			for range r.IntN(4) {
				p := discovery.Port{Name: []string{"https", "http", ""}[r.IntN(3)], Protocol: discovery.Protocol(1 + r.IntN(3)), Port: []uint16{80, 443, 8443}[r.IntN(3)]}
				s.Ports = append(s.Ports, p)
			}
			for range r.IntN(3) {
				e := discovery.Endpoint{Addr: netip.AddrFrom4([4]byte{10, 9, byte(i), byte(r.IntN(250))}), Hostname: word(), Zone: word(), Ready: r.IntN(2) == 0}
				s.Endpoints = append(s.Endpoints, e)
			}
			for range r.IntN(3) {
				alias := "global"
				for range r.IntN(9) {
					alias = word() + "." + alias
				}
				s.Aliases = append(s.Aliases, alias)
			}
			services[s.Key()] = s
		}
		var list []*discovery.Service
		for _, s := range services {
			list = append(list, s)
		}
		apply(t, table, c, 1, list...)
	}
	table.SetLoaded()
	return table
}

// namesOf are all names that a table gives reason to, whether they exist or
// not, and what comes with an answer.
func namesOf(table *discovery.Table) []string {
	names := []string{"global.", "ns.dns.global.", "dns-version.global.", "_clusters.global."}
	below := func(host string) {
		names = append(names, host, "_why."+host, "x.pin._zone."+host, "a.b.prefer._region."+host)
		for _, proto := range []string{"_tcp", "_udp", "_sctp", "_https"} {
			for _, port := range []string{"_https", "_http", "_443", "_80", "_8443"} {
				names = append(names, port+"."+proto+"."+host)
			}
		}
	}
	table.Walk(func(e *discovery.Entry) bool {
		key := string(e.Key) + ".global."
		below(key)
		for _, c := range e.Candidates {
			below(c.Cluster + "." + key)
			for _, port := range []string{"0", "443", "15443"} {
				names = append(names, port+".gateway."+c.Cluster+"."+key)
			}
			for _, end := range c.Service.Endpoints {
				names = append(names, end.Hostname+"."+c.Cluster+"."+key)
			}
			for _, alias := range c.Service.Aliases {
				below(alias + ".")
			}
		}
		return true
	})
	return names
}

// A name that exists has no ancestor in its zone that doesn't: a resolver that
// is told so may deny everything below (RFC 8020 section 2). And every target
// of an answer exists.
func TestAncestorsExist(t *testing.T) {
	exists := map[bool]int{}
	for seed := range uint64(60) {
		l := newLink(randomTable(t, rand.New(rand.NewPCG(seed, 1))))
		l.view.Store(&View{Cluster: "west", Network: "net", Locality: westLocality})
		p := newPlugin(l)
		p.zones = append(p.zones, newZone("deep.down.a.global."), newZone("below.b.global."))
		rcodeOf := func(qname string, qtype uint16) int {
			_, rcode := ask(t, p, question(qname, qtype))
			return rcode
		}
		names := namesOf(l.table)
		names = append(names, "deep.down.a.global.", "below.b.global.")
		for i := 0; i < len(names); i++ {
			qname := names[i]
			found := rcodeOf(qname, dns.TypeMX) == dns.RcodeSuccess
			exists[found]++
			for _, qtype := range []uint16{dns.TypeA, dns.TypeTXT, dns.TypeSRV, dns.TypeHTTPS} {
				require.Equal(t, found, rcodeOf(qname, qtype) == dns.RcodeSuccess, "seed %d: %s exists for one type only", seed, qname)
			}
			if !found {
				continue
			}
			for _, above := range ancestors(qname) {
				require.Equal(t, dns.RcodeSuccess, rcodeOf(above, dns.TypeA), "seed %d: %s exists, %s above it does not", seed, qname, above)
			}
			m, _ := ask(t, p, question(qname, dns.TypeSRV))
			for _, rr := range m.Answer {
				require.Equal(t, dns.RcodeSuccess, rcodeOf(rr.(*dns.SRV).Target, dns.TypeA), "seed %d: target of %s", seed, qname)
			}
		}
	}
	require.Greater(t, exists[true], 5000, "the tables show something")
	require.Greater(t, exists[false], 5000)
}

// ancestors are the names above one, as far as global.
func ancestors(qname string) (list []string) {
	for {
		i, end := dns.NextLabel(qname, 0)
		if end || qname == "global." {
			return list
		}
		qname = qname[i:]
		list = append(list, qname)
	}
}
