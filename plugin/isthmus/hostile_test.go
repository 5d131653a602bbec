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

// hostileGateways are as many as a cluster may have, on many ports, of many
// weights, and with as many addresses, all of them different or not.
func hostileGateways(different bool) []discovery.Gateway {
	gateways := make([]discovery.Gateway, discovery.MaxGateways)
	for i := range gateways {
		g := discovery.Gateway{Kind: discovery.GatewayStatic, Port: uint16(i % 9), Weight: uint32(i + 1)}
		for j := range discovery.MaxAddresses {
			n := i*discovery.MaxAddresses + j
			if !different {
				n = min(n, 2*maxAddresses-3)
			}
			addr := netip.AddrFrom4([4]byte{100, 1, byte(n >> 8), byte(n)})
			if n%2 == 1 {
				addr = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(n), 14: byte(n >> 8)})
			}
			g.Addresses = append(g.Addresses, addr)
		}
		gateways[i] = g
	}
	return gateways
}

func BenchmarkBuildHostile(b *testing.B) {
	for _, different := range []bool{true, false} {
		b.Run(fmt.Sprint(different), func(b *testing.B) {
			table := demoTable(b)
			apply(b, table, cluster("hostile", eastLocality, hostileGateways(different)...), 1, service("production", "user-service", 1, 1))
			p := newPlugin(newLink(table))
			e := table.Lookup("user-service.production")
			b.ReportAllocs()
			for b.Loop() {
				p.view.build(e, p.view.outlook.facts(p.view.link.View()), table.Records())
			}
		})
	}
}

// What a service keeps of its gateways' addresses is bounded, however many a
// cluster names, and all that is answered is there.
func TestHostileGatewaysMemory(t *testing.T) {
	for _, different := range []bool{true, false} {
		table := demoTable(t)
		apply(t, table, cluster("hostile", eastLocality, hostileGateways(different)...), 1, service("p", "web", 1, 1))
		p := newPlugin(newLink(table))
		a := p.view.answers(table.Lookup("web.p"), p.view.link.View())
		kept := 0
		count := func(way *addresses) {
			kept += len(way.v4) + len(way.v6)
			for _, s := range slices.Concat(way.shares4, way.shares6) {
				kept += len(s.ips)
			}
		}
		count(&a.ways[0])
		require.Len(t, a.ways[0].ports, maxGatewayPorts)
		for i := range a.ways[0].ports {
			count(&a.ways[0].ports[i].way)
		}
		require.LessOrEqual(t, kept, 4*2*maxAddresses)
		require.NotEmpty(t, a.ways[0].v4)
		require.NotEmpty(t, a.ways[0].v6)
		if different {
			require.Len(t, a.ways[0].v4, maxAddresses)
			require.Len(t, a.ways[0].v6, maxAddresses)
		}
	}
}

// One cluster can give all endpoints of all of its services the same address;
// neither do they crowd out our own cluster's, nor does the index keep them.
func TestHostileEndpoints(t *testing.T) {
	table := demoTable(t)
	own := service("z", "db", 1, 1)
	own.Kind = discovery.KindHeadless
	own.Endpoints = []discovery.Endpoint{{Addr: addrs("10.9.9.9")[0], Hostname: "db-0", Ready: true}}
	apply(t, table, cluster("west", westLocality), 9, own)
	var services []*discovery.Service
	for i := range 20 {
		s := service("a", fmt.Sprint("s", i), 1, 1)
		s.Kind = discovery.KindHeadless
		for j := range discovery.MaxEndpoints {
			s.Endpoints = append(s.Endpoints, discovery.Endpoint{Addr: addrs("10.9.9.9", "10.9.9.8")[j%2], Hostname: fmt.Sprint("h", j), Ready: true})
		}
		services = append(services, s)
	}
	flat := cluster("a-hostile", eastLocality)
	flat.Network = "flat"
	apply(t, table, flat, 1, services...)
	p := manyZones(t, table)
	x := p.view.reverse.index()
	require.Len(t, x.hosts, 2*maxPTR)
	got, _ := ask(t, p, question("9.9.9.10.in-addr.arpa.", dns.TypePTR))
	require.Len(t, got.Answer, 1)
	require.Equal(t, "db-0.west.db.z.global.", got.Answer[0].(*dns.PTR).Ptr)
	got, _ = ask(t, p, question("8.9.9.10.in-addr.arpa.", dns.TypePTR))
	require.Len(t, got.Answer, maxPTR)
	for _, rr := range got.Answer {
		forward, _ := ask(t, p, question(rr.(*dns.PTR).Ptr, dns.TypeA))
		require.Len(t, forward.Answer, 1)
		require.Equal(t, "10.9.9.8", forward.Answer[0].(*dns.A).A.String())
	}
}
