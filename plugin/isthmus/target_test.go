package isthmus

import (
	"testing"

	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

// targetOf is the name that a record points to, "" if it does to none.
func targetOf(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.SRV:
		return rr.Target
	case *dns.SVCB:
		return rr.Target
	case *dns.HTTPS:
		return rr.Target
	case *dns.PTR:
		return rr.Ptr
	case *dns.NS:
		return rr.Ns
	}
	return ""
}

// Each record of each kind of zone points to a name that we answer with
// addresses, the ones that came along; nothing of it falls through.
func TestTargetsResolve(t *testing.T) {
	table := kindsTable(t)
	s := service("production", "web", 3, 3)
	s.Ports = append(s.Ports, tcpPort("https", 443, 0), discovery.Port{Protocol: discovery.UDP, Port: 53})
	s.Aliases = []string{"web.example", "web.global"}
	heavy := gateway(8443, "192.0.2.31")
	heavy.Weight = 3
	apply(t, table, cluster("divided", eastLocality, gateway(15443, "192.0.2.30", "2001:db8::30"), heavy, gateway(0, "192.0.2.32")), 1, s)
	orders := service("production", "zonal", 2, 2)
	orders.Kind = discovery.KindHeadless
	orders.Endpoints = []discovery.Endpoint{
		{Addr: addrs("10.1.9.21")[0], Hostname: "z-0", Zone: "Zone.A", Ready: true}, {Addr: addrs("10.1.9.22")[0], Zone: "b", Ready: true},
	}
	apply(t, table, cluster("west", westLocality, gateway(15443, "127.1.0.10")), 9, orders)
	p := manyZones(t, table)
	p.fall.SetZonesFromArgs(nil)
	p.Next = test.NextHandler(dns.RcodeRefused, nil)
	names := []string{
		"10.0.1.127.in-addr.arpa.", "30.2.0.192.in-addr.arpa.", "21.9.1.10.in-addr.arpa.", "1.0.7.10.in-addr.arpa.",
		"web.example.", "_http._tcp.web.global.", "Zone.A.pin._zone.zonal.production.global.", "zone.a.prefer._zone.west.zonal.production.example.",
		"us-east1.pin._region.web.production.global.",
	}
	for _, z := range p.zones {
		names = append(names, z.origin)
		for _, svc := range []string{"web.production", "zonal.production", "peers.data", "same.data", "payment-service.production", "Own-Gateway.data"} {
			for _, prefix := range []string{"", "_http._tcp.", "_https._tcp.", "_443._https.", "divided.", "_http._tcp.west.", "north."} {
				names = append(names, prefix+svc+"."+z.origin, prefix+svc+".svc."+z.origin)
			}
		}
	}
	checked := map[uint16]int{}
	for _, qname := range names {
		for _, qtype := range []uint16{dns.TypeSRV, dns.TypeSVCB, dns.TypeHTTPS, dns.TypePTR, dns.TypeNS} {
			m, _ := ask(t, p, question(qname, qtype))
			if m == nil {
				continue
			}
			along := map[string]bool{}
			for _, line := range lines(m.Extra) {
				along[line] = true
			}
			for _, rr := range m.Answer {
				target := targetOf(rr)
				if target == "" {
					continue // HINFO
				}
				checked[qtype]++
				found := 0
				for _, family := range []uint16{dns.TypeA, dns.TypeAAAA} {
					got, rcode := ask(t, p, question(target, family))
					require.NotNil(t, got, rr)
					require.Equal(t, dns.RcodeSuccess, rcode, rr)
					found += len(got.Answer)
					for _, line := range lines(got.Answer) {
						delete(along, line)
					}
				}
				require.NotZero(t, found, rr)
			}
			require.Empty(t, along, "%s: other addresses came along than the target's", qname)
		}
	}
	for _, qtype := range []uint16{dns.TypeSRV, dns.TypeSVCB, dns.TypeHTTPS, dns.TypePTR, dns.TypeNS} {
		require.NotZero(t, checked[qtype], dns.TypeToString[qtype])
	}
	require.Greater(t, checked[dns.TypeSRV], 100)
}
