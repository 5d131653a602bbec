package isthmus

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

// portsTable has a cluster whose gateways listen on two ports, one that shares
// one, and one whose gateways name a port or leave it to the service.
func portsTable(t testing.TB) *discovery.Table {
	table := demoTable(t)
	heavy := gateway(15443, "192.0.2.1", "2001:db8::1")
	heavy.Weight = 3
	pending := discovery.Gateway{Hostname: "lb.example.net", Port: 9443, Kind: discovery.GatewayLoadBalancer}
	apply(t, table, cluster("two", eastLocality, heavy, gateway(443, "192.0.2.2"), pending), 1,
		service("p", "web", 4, 4), service("p", "alone", 4, 4), nodePort("p", "node", 4))
	apply(t, table, cluster("one", eastLocality, gateway(443, "192.0.2.3"), gateway(443, "192.0.2.4")), 1, service("p", "web", 2, 2))
	both := service("p", "mixed", 1, 1)
	both.Ports = append(both.Ports, discovery.Port{Name: "https", Protocol: discovery.TCP, Port: 443})
	apply(t, table, cluster("mix", eastLocality, gateway(0, "192.0.2.5"), gateway(443, "192.0.2.6")), 1, both)
	return table
}

func nodePort(namespace, name string, ready uint32) *discovery.Service {
	s := service(namespace, name, ready, ready)
	s.Ports[0].Gateway = 30080
	return s
}

// srvLines are an answer's records as "priority weight port target" and its
// additional section as "name address", in no order.
func srvLines(m *dns.Msg) (records, extra []string) {
	for _, rr := range m.Answer {
		srv := rr.(*dns.SRV)
		records = append(records, fmt.Sprintf("%d %d %d %s", srv.Priority, srv.Weight, srv.Port, srv.Target))
	}
	return records, addressLines(m.Extra)
}

func addressLines(list []dns.RR) (lines []string) {
	for _, rr := range list {
		switch rr := rr.(type) {
		case *dns.A:
			lines = append(lines, rr.Hdr.Name+" "+rr.A.String())
		case *dns.AAAA:
			lines = append(lines, rr.Hdr.Name+" "+rr.AAAA.String())
		}
	}
	return lines
}

func TestSRVOfGatewaysWithDifferentPorts(t *testing.T) {
	tests := []struct {
		name, qname string
		want, extra []string
	}{
		{
			"weights are divided", "web.p.global.",
			// 4 ready endpoints against 2; 4 is divided as 3 : 1
			[]string{
				"3 3 15443 15443.gateway.two.web.p.global.", "3 1 443 443.gateway.two.web.p.global.",
				"3 2 443 one.web.p.global.",
			},
			[]string{
				"15443.gateway.two.web.p.global. 192.0.2.1", "15443.gateway.two.web.p.global. 2001:db8::1",
				"443.gateway.two.web.p.global. 192.0.2.2", "one.web.p.global. 192.0.2.3", "one.web.p.global. 192.0.2.4",
			},
		},
		{
			"of one cluster", "_http._tcp.two.web.p.global.",
			[]string{"3 3 15443 15443.gateway.two.web.p.global.", "3 1 443 443.gateway.two.web.p.global."},
			[]string{
				"15443.gateway.two.web.p.global. 192.0.2.1", "15443.gateway.two.web.p.global. 2001:db8::1",
				"443.gateway.two.web.p.global. 192.0.2.2",
			},
		},
		{
			"a port of the service's own is the same at all gateways", "node.p.global.",
			[]string{"3 4 30080 two.node.p.global."},
			[]string{"two.node.p.global. 192.0.2.1", "two.node.p.global. 192.0.2.2", "two.node.p.global. 2001:db8::1"},
		},
		{
			"gateways that name no port", "_http._tcp.mixed.p.global.",
			[]string{"3 1 80 0.gateway.mix.mixed.p.global.", "3 1 443 443.gateway.mix.mixed.p.global."},
			[]string{"0.gateway.mix.mixed.p.global. 192.0.2.5", "443.gateway.mix.mixed.p.global. 192.0.2.6"},
		},
		{
			"and mean the one that others name", "_https._tcp.mixed.p.global.",
			[]string{"3 2 443 mix.mixed.p.global."},
			[]string{"mix.mixed.p.global. 192.0.2.5", "mix.mixed.p.global. 192.0.2.6"},
		},
	}
	p := newPlugin(newLink(portsTable(t)))
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m, _ := ask(t, p, question(tc.qname, dns.TypeSRV))
			records, extra := srvLines(m)
			require.ElementsMatch(t, tc.want, records)
			require.ElementsMatch(t, tc.extra, extra)
			for _, rr := range m.Answer { // each target resolves to what came along
				var got []string
				for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
					m, _ := ask(t, p, question(rr.(*dns.SRV).Target, qtype))
					require.Equal(t, dns.RcodeSuccess, m.Rcode)
					got = append(got, addressLines(m.Answer)...)
				}
				for _, line := range got {
					require.Contains(t, extra, line)
				}
				require.NotEmpty(t, got)
			}
		})
	}
}

// What clients get by taking records by weight is what gateways weigh.
func TestDividedWeights(t *testing.T) {
	tests := []struct {
		name    string
		ready   uint32
		weights []uint32
		want    []float64
	}{
		{"readable", 4, []uint32{3, 1}, []float64{0.75, 0.25}},
		{"small", 1, []uint32{1, 1, 1}, []float64{1. / 3, 1. / 3, 1. / 3}},
		{"factors that don't fit", 65000, []uint32{7, 11, 13}, []float64{7. / 31, 11. / 31, 13. / 31}},
		{"beyond 16 bits", 1 << 24, []uint32{discovery.MaxWeight, discovery.MaxWeight / 2}, []float64{2. / 3, 1. / 3}},
		{"a very small share", 1, []uint32{discovery.MaxWeight, 1}, []float64{1, 0}},
		{"more ports than are told", 90, []uint32{1, 1, 1, 1, 1, 1, 1, 1, 1}, slices.Repeat([]float64{1. / 8}, 8)},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var gateways []discovery.Gateway
			for i, w := range tc.weights {
				g := gateway(uint16(1000+i), fmt.Sprint("192.0.2.", i+1))
				g.Weight = w
				gateways = append(gateways, g)
			}
			table := demoTable(t)
			s := service("p", "web", tc.ready, tc.ready)
			s.Weight = discovery.MaxWeight
			if tc.ready < 1<<20 {
				s.Weight = 1
			}
			apply(t, table, cluster("c", eastLocality, gateways...), 1, s)
			m, _ := ask(t, newPlugin(newLink(table)), question("web.p.global.", dns.TypeSRV))
			require.Len(t, m.Answer, len(tc.want))
			sum, by := 0., map[uint16]float64{}
			for _, rr := range m.Answer {
				srv := rr.(*dns.SRV)
				require.Positive(t, srv.Weight)
				by[srv.Port] = float64(srv.Weight)
				sum += by[srv.Port]
			}
			for i, want := range tc.want {
				require.InDelta(t, want, by[uint16(1000+i)]/sum, 0.0001)
			}
		})
	}
}

func TestGatewayNames(t *testing.T) {
	table := portsTable(t)
	hosts := service("p", "hosts", 1, 1)
	hosts.Kind = discovery.KindHeadless
	hosts.Endpoints = []discovery.Endpoint{{Addr: netip.MustParseAddr("10.9.9.9"), Hostname: "gateway", Ready: true}}
	apply(t, table, cluster("west", westLocality, gateway(1, "192.0.2.99")), 8, service("p", "own", 1, 1, "10.1.0.5"))
	apply(t, table, cluster("hosts", eastLocality, gateway(443, "192.0.2.7")), 1, hosts, service("p", "down", 0, 1))
	l := newLink(table)
	p := newPlugin(l)
	const (
		nodata   = "nodata"
		nxdomain = "nxdomain"
		servfail = "servfail"
	)
	tests := []struct {
		qname string
		qtype uint16
		want  string
	}{
		{"15443.gateway.two.web.p.global.", dns.TypeA, "192.0.2.1"},
		{"15443.Gateway.two.web.p.global.", dns.TypeAAAA, "2001:db8::1"},
		{"443.gateway.two.web.p.global.", dns.TypeA, "192.0.2.2"},
		{"443.gateway.two.web.p.global.", dns.TypeAAAA, nodata},
		{"443.gateway.two.web.p.global.", dns.TypeSRV, nodata},
		{"9443.gateway.two.web.p.global.", dns.TypeA, servfail},
		{"443.gateway.one.web.p.global.", dns.TypeAAAA, nodata}, // one port: the name goes on when another port goes
		{"80.gateway.one.web.p.global.", dns.TypeA, nxdomain},
		{"gateway.one.web.p.global.", dns.TypeA, nodata},
		{"gateway.two.web.p.global.", dns.TypeA, nodata},
		{"0443.gateway.two.web.p.global.", dns.TypeA, nxdomain},
		{"+443.gateway.two.web.p.global.", dns.TypeA, nxdomain},
		{"65979.gateway.two.web.p.global.", dns.TypeA, nxdomain}, // 443 modulo 2^16
		{"x.443.gateway.two.web.p.global.", dns.TypeA, nxdomain},
		{"443.gateways.two.web.p.global.", dns.TypeA, nxdomain},
		{"443.gateway.none.web.p.global.", dns.TypeA, nxdomain},
		{"1.gateway.west.own.p.global.", dns.TypeA, nxdomain}, // the own cluster is not reached through a gateway
		{"gateway.west.own.p.global.", dns.TypeA, nxdomain},
		{"gateway.hosts.hosts.p.global.", dns.TypeA, "192.0.2.7"}, // an endpoint of that name
		{"443.gateway.hosts.hosts.p.global.", dns.TypeA, "192.0.2.7"},
		{"443.gateway.hosts.down.p.global.", dns.TypeA, nodata},
	}
	for _, tc := range tests {
		t.Run(tc.qname, func(t *testing.T) {
			m, rcode := ask(t, p, question(tc.qname, tc.qtype))
			switch tc.want {
			case servfail:
				require.Equal(t, dns.RcodeServerFailure, rcode)
			case nxdomain:
				require.Equal(t, dns.RcodeNameError, rcode)
			case nodata:
				require.Equal(t, dns.RcodeSuccess, rcode)
				require.Empty(t, m.Answer)
			default:
				require.Equal(t, []string{tc.qname + " " + tc.want}, addressLines(m.Answer))
			}
		})
	}
	p.view.names.store("lb.example.net", found{addrs: addrs("198.51.100.1")}, found{err: errNoAddress})
	m, _ := ask(t, p, question("9443.gateway.two.web.p.global.", dns.TypeA))
	require.Equal(t, []string{"9443.gateway.two.web.p.global. 198.51.100.1"}, addressLines(m.Answer))
}

// One hostile record, with every port at gateways of all ports, is a bounded
// answer, and one that is read.
func TestSRVOfHostileGateways(t *testing.T) {
	var gateways []discovery.Gateway
	for i := range discovery.MaxGateways {
		gateways = append(gateways, gateway(uint16(i), fmt.Sprint("192.0.2.", i+1)))
	}
	s := service("p", "web", 1, 1)
	s.Ports = nil
	for i := range discovery.MaxPorts {
		s.Ports = append(s.Ports, discovery.Port{Name: fmt.Sprint("p", i), Protocol: discovery.TCP, Port: uint16(i + 1000)})
	}
	table := demoTable(t)
	apply(t, table, cluster("c", eastLocality, gateways...), 1, s)
	p := newPlugin(newLink(table))
	m, _ := ask(t, p, question("web.p.global.", dns.TypeSRV))
	require.LessOrEqual(t, len(m.Answer), maxOwnItems)
	_, err := m.Pack()
	require.NoError(t, err)
	// The first gateways may have no address that is told: then there is no
	// record, and no division by nothing.
	for i := range gateways[:maxGatewayPorts] {
		gateways[i].Addresses = addrs("127.0.0.1")
	}
	apply(t, table, cluster("c", eastLocality, gateways...), 2, s)
	p.view.link.(*fakeLink).view.Store(&View{})
	m, _ = ask(t, p, question("web.p.global.", dns.TypeSRV))
	require.Empty(t, m.Answer)
}
