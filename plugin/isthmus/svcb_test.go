package isthmus

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

func tcpPort(name string, number, gateway uint16) discovery.Port {
	return discovery.Port{Name: name, Protocol: discovery.TCP, Port: number, Gateway: gateway}
}

// webTable has services with and without a port for HTTPS.
func webTable(t testing.TB) *discovery.Table {
	with := func(name string, ports ...discovery.Port) *discovery.Service {
		s := service("web", name, 2, 2, "10.1.0.7", "fd00:1::7")
		s.Ports = ports
		s.Aliases = []string{name + ".shop.global"}
		return s
	}
	services := func() []*discovery.Service {
		quic := tcpPort("https", 8443, 0)
		quic.Protocol = discovery.UDP
		return []*discovery.Service{
			with("shop", tcpPort("http", 80, 0), tcpPort("https", 443, 0)),
			with("named", tcpPort("https-admin", 9443, 0), tcpPort("https", 8443, 0), tcpPort("http", 80, 0)),
			with("prefixed", tcpPort("https-web", 8443, 0)),
			with("unnamed", tcpPort("", 443, 0)),
			with("plain", tcpPort("http", 80, 0), tcpPort("httpsx", 8081, 0)),
			with("udp", quic),
			with("none"),
			with("node", tcpPort("http", 80, 30080), tcpPort("https", 443, 30443)),
		}
	}
	table := demoTable(t)
	apply(t, table, cluster("west", westLocality), 9, services()...)
	apply(t, table, cluster("east", eastLocality, gateway(15443, "192.0.2.3", "2001:db8::3")), 9, services()...)
	apply(t, table, cluster("far", eastLocality, gateway(443, "192.0.2.4"), gateway(8443, "192.0.2.5")), 9, services()[:1]...)
	return table
}

// bindingLines are an answer's records as "priority target key=value…".
func bindingLines(m *dns.Msg) (lines []string) {
	for _, rr := range m.Answer {
		var b *dns.SVCB
		switch rr := rr.(type) {
		case *dns.HTTPS:
			b = &rr.SVCB
		case *dns.SVCB:
			b = rr
		}
		line := fmt.Sprint(b.Priority, " ", b.Target)
		for _, kv := range b.Value {
			line += fmt.Sprintf(" %s=%s", kv.Key(), kv)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestBindings(t *testing.T) {
	shop := []string{
		"1 west.shop.web.global. port=443 ipv4hint=10.1.0.7 ipv6hint=fd00:1::7",
		"4 east.shop.web.global. port=15443 ipv4hint=192.0.2.3 ipv6hint=2001:db8::3",
		"4 443.gateway.far.shop.web.global. port=443 ipv4hint=192.0.2.4",
		"4 8443.gateway.far.shop.web.global. port=8443 ipv4hint=192.0.2.5",
	}
	both := func(svc, own string) []string {
		return []string{
			"1 west." + svc + ".web.global." + own + " ipv4hint=10.1.0.7 ipv6hint=fd00:1::7",
			"4 east." + svc + ".web.global. port=15443 ipv4hint=192.0.2.3 ipv6hint=2001:db8::3",
		}
	}
	nodata, nxdomain := []string{}, []string(nil)
	tests := []struct {
		qname string
		qtype uint16
		want  []string
	}{
		{"shop.web.global.", dns.TypeHTTPS, shop},
		{"shop.shop.global.", dns.TypeHTTPS, shop},
		{"east.shop.web.global.", dns.TypeHTTPS, shop[1:2]},
		{"_443._https.shop.web.global.", dns.TypeHTTPS, shop},
		{"_443._https.shop.shop.global.", dns.TypeHTTPS, shop},
		{"_443._https.east.shop.web.global.", dns.TypeHTTPS, shop[1:2]},
		{"_443._https.shop.web.global.", dns.TypeSRV, nodata},
		{"_443._https.shop.web.global.", dns.TypeSVCB, nodata},
		{"_80._https.shop.web.global.", dns.TypeHTTPS, nodata}, // or browsers would leave http
		{"_80._https.shop.web.global.", dns.TypeANY, nodata},
		{"_0443._https.shop.web.global.", dns.TypeHTTPS, nxdomain},
		{"_8443._https.shop.web.global.", dns.TypeHTTPS, nxdomain},
		{"_https._https.shop.web.global.", dns.TypeHTTPS, nxdomain},
		{"_https.shop.web.global.", dns.TypeHTTPS, nodata},
		{"_https.udp.web.global.", dns.TypeHTTPS, nxdomain},

		{"named.web.global.", dns.TypeHTTPS, both("named", " port=8443")},
		{"_9443._https.named.web.global.", dns.TypeHTTPS, both("named", " port=9443")},
		{"prefixed.web.global.", dns.TypeHTTPS, both("prefixed", " port=8443")},
		{"unnamed.web.global.", dns.TypeHTTPS, both("unnamed", " port=443")},
		{"plain.web.global.", dns.TypeHTTPS, nodata},
		{"_8081._https.plain.web.global.", dns.TypeHTTPS, nodata},
		{"udp.web.global.", dns.TypeHTTPS, nodata},
		{"none.web.global.", dns.TypeHTTPS, nodata},
		{"node.web.global.", dns.TypeHTTPS, []string{
			"1 west.node.web.global. port=443 ipv4hint=10.1.0.7 ipv6hint=fd00:1::7",
			"4 east.node.web.global. port=30443 ipv4hint=192.0.2.3 ipv6hint=2001:db8::3",
		}},

		{"_https._tcp.shop.web.global.", dns.TypeSVCB, shop},
		{"_https._tcp.east.shop.web.global.", dns.TypeSVCB, shop[1:2]},
		{"_https._tcp.shop.web.global.", dns.TypeHTTPS, nodata},
		{"_https._udp.udp.web.global.", dns.TypeSVCB, both("udp", " port=8443")},
		{"_x._tcp.shop.web.global.", dns.TypeSVCB, nxdomain},
		// A service's own name: the one port; or no port where all keep their
		// own; or the one that all have at the gateway; or nothing to tell.
		{"prefixed.web.global.", dns.TypeSVCB, both("prefixed", " port=8443")},
		{"plain.web.global.", dns.TypeSVCB, both("plain", "")},
		{"none.web.global.", dns.TypeSVCB, []string{
			"1 west.none.web.global. ipv4hint=10.1.0.7 ipv6hint=fd00:1::7",
			"4 east.none.web.global. ipv4hint=192.0.2.3 ipv6hint=2001:db8::3",
		}},
		{"east.node.web.global.", dns.TypeSVCB, nodata},
		{"far.shop.web.global.", dns.TypeSVCB, shop[2:]},
	}
	p := newPlugin(newLink(webTable(t)))
	for _, tc := range tests {
		t.Run(dns.TypeToString[tc.qtype]+" "+tc.qname, func(t *testing.T) {
			m, rcode := ask(t, p, question(tc.qname, tc.qtype))
			require.Equal(t, tc.want == nil, rcode == dns.RcodeNameError)
			require.ElementsMatch(t, tc.want, bindingLines(m))
			packed, err := m.Pack()
			require.NoError(t, err)
			require.NoError(t, new(dns.Msg).Unpack(packed))
			extra := addressLines(m.Extra)
			for _, line := range tc.want { // each target's addresses come along
				require.Contains(t, strings.Join(extra, "\n"), strings.Fields(line)[1]+" ")
			}
		})
	}
}

// A cluster that has a port for HTTPS doesn't draw browsers away from those that
// are answered and have none; where it is answered itself, it has records.
func TestHTTPSOfOneCluster(t *testing.T) {
	table := webTable(t)
	secure := func(name string) *discovery.Service {
		s := service("web", name, 1, 1)
		s.Ports = []discovery.Port{tcpPort("http", 80, 0), tcpPort("https", 443, 0)}
		return s
	}
	apply(t, table, cluster("hostile", westLocality, gateway(15443, "192.0.2.66")), 1, secure("plain"), secure("prefixed"), secure("alone"))
	p := newPlugin(newLink(table))
	for qname, want := range map[string][]string{
		"plain.web.global.":                nil,
		"_443._https.plain.web.global.":    nil,
		"hostile.plain.web.global.":        {"2 hostile.plain.web.global. port=15443 ipv4hint=192.0.2.66"},
		"_8443._https.plain.web.global.":   nil,
		"alone.web.global.":                {"2 hostile.alone.web.global. port=15443 ipv4hint=192.0.2.66"},
		"_443._https.prefixed.web.global.": nil, // the own cluster's is 8443
	} {
		m, _ := ask(t, p, question(qname, dns.TypeHTTPS))
		require.Equal(t, want, bindingLines(m), qname)
	}
	m, _ := ask(t, p, question("_443._https.plain.web.global.", dns.TypeANY))
	require.Empty(t, m.Answer)
	m, _ = ask(t, p, question("prefixed.web.global.", dns.TypeHTTPS))
	require.Len(t, m.Answer, 3)
}

// The first record of a priority is drawn by weight, as with SRV: SVCB has none
// that a client could draw by.
func TestBindingOrder(t *testing.T) {
	const queries = 20_000
	table := demoTable(t)
	for name, ready := range map[string]uint32{"x": 3, "y": 1} {
		s := service("web", "shop", ready, ready)
		s.Ports = []discovery.Port{tcpPort("https", 443, 0)}
		apply(t, table, cluster(name, eastLocality, gateway(443, "192.0.2.1")), 1, s)
	}
	p := newPlugin(newLink(table))
	first := 0
	for range queries {
		m, _ := ask(t, p, question("shop.web.global.", dns.TypeHTTPS))
		require.Len(t, m.Answer, 2)
		if m.Answer[0].(*dns.HTTPS).Target == "x.shop.web.global." {
			first++
		}
	}
	require.InDelta(t, 0.75, float64(first)/queries, 0.01)
}

// Hints are few, however many addresses there are; ports that are one at the
// gateway are one record.
func TestBindingBounds(t *testing.T) {
	var many []string
	for i := range 40 {
		many = append(many, netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}).String())
	}
	s := service("web", "shop", 1, 1)
	s.Ports = []discovery.Port{tcpPort("a", 1, 0), tcpPort("a", 2, 0)}
	table := demoTable(t)
	apply(t, table, cluster("x", eastLocality, gateway(443, many...)), 1, s)
	p := newPlugin(newLink(table))
	for _, qname := range []string{"shop.web.global.", "_a._tcp.shop.web.global."} {
		req := question(qname, dns.TypeSVCB)
		req.SetEdns0(4096, false)
		m, _ := ask(t, p, req)
		require.Len(t, m.Answer, 1)
		value := m.Answer[0].(*dns.SVCB).Value
		require.Len(t, value, 2)
		require.Len(t, value[1].(*dns.SVCBIPv4Hint).Hint, maxHints)
		require.Len(t, m.Extra, 40)
	}
}

func TestBindingsOfUnresolvedGateways(t *testing.T) {
	l := newLink(webTable(t))
	lb := service("lb", "lb", 1, 1)
	lb.Ports = []discovery.Port{tcpPort("https", 443, 0)}
	lb.Gateways = []discovery.Gateway{{Hostname: "lb.example.net", Kind: discovery.GatewayLoadBalancer}}
	apply(t, l.table, cluster("later", eastLocality), 8, lb)
	p := newPlugin(l)
	for _, qtype := range []uint16{dns.TypeHTTPS, dns.TypeSVCB} {
		_, rcode := ask(t, p, question("lb.lb.global.", qtype))
		require.Equal(t, dns.RcodeServerFailure, rcode)
	}
}
