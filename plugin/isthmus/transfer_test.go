package isthmus

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
)

// transferred reads a whole transfer.
func transferred(t testing.TB, p *Isthmus, origin string) []dns.RR {
	t.Helper()
	out, err := p.Transfer(origin, 0)
	require.NoError(t, err)
	var all []dns.RR
	for piece := range out {
		require.LessOrEqual(t, len(piece), transferPiece+maxSRV)
		all = append(all, piece...)
	}
	return all
}

func transferZones(t testing.TB, table *discovery.Table) *Isthmus {
	p := manyZones(t, table)
	p.random = rand.Uint64 // a transfer asks beside the test
	return p
}

func lines(list []dns.RR) []string {
	var out []string
	for _, rr := range list {
		out = append(out, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	return out
}

func TestTransfer(t *testing.T) {
	table := discovery.NewTable()
	orders := service("production", "orders", 1, 2)
	orders.Kind = discovery.KindHeadless
	orders.Endpoints = []discovery.Endpoint{
		{Addr: addrs("10.1.9.1")[0], Hostname: "orders-0", Ready: true},
		{Addr: addrs("10.1.9.2")[0], Hostname: "orders-1"},
	}
	shop := service("production", "shop", 1, 1)
	shop.Aliases = []string{"www.global", "www.shop.example", "central.gateway.global", "ns.dns.global"}
	other := service("production", "shop", 1, 1)
	other.Ports[0].Gateway = 9000
	apply(t, table, cluster("west", westLocality), 1, orders, service("dns", "ns", 1, 1, "10.1.0.9"))
	apply(t, table, cluster("central", centralLocality, gateway(15443, "192.0.2.1", "2001:db8::1")), 1, shop)
	apply(t, table, cluster("east", eastLocality, gateway(15443, "192.0.2.2", "192.0.2.1")), 1, other)
	table.SetLoaded()
	p := transferZones(t, table)
	tests := []struct {
		origin string
		want   []string
	}{
		{"global.", []string{
			"global. 5 IN NS ns.dns.global.", "ns.dns.global. 5 IN A 192.0.2.53", "ns.dns.global. 5 IN AAAA 2001:db8::53",
			`dns-version.global. 5 IN TXT "1.1.0"`,
			"central.gateway.global. 5 IN A 192.0.2.1", "central.gateway.global. 5 IN AAAA 2001:db8::1",
			"east.gateway.global. 5 IN A 192.0.2.2", "east.gateway.global. 5 IN A 192.0.2.1",
			"_http._tcp.ns.dns.global. 5 IN SRV 0 1 80 west.ns.dns.global.",
			"west.ns.dns.global. 5 IN A 10.1.0.9", "west.ns.dns.global. 5 IN SRV 0 1 80 west.ns.dns.global.",
			"_http._tcp.west.ns.dns.global. 5 IN SRV 0 1 80 west.ns.dns.global.",
			"orders.production.global. 5 IN A 10.1.9.1", "orders.production.global. 5 IN SRV 0 1 80 west.orders.production.global.",
			"_http._tcp.orders.production.global. 5 IN SRV 0 1 80 west.orders.production.global.",
			"west.orders.production.global. 5 IN A 10.1.9.1", "west.orders.production.global. 5 IN SRV 0 1 80 west.orders.production.global.",
			"_http._tcp.west.orders.production.global. 5 IN SRV 0 1 80 west.orders.production.global.",
			"orders-0.west.orders.production.global. 5 IN A 10.1.9.1",
			"shop.production.global. 5 IN A 192.0.2.1", "shop.production.global. 5 IN A 192.0.2.2", "shop.production.global. 5 IN AAAA 2001:db8::1",
			"shop.production.global. 5 IN SRV 3 1 15443 central.shop.production.global.", "shop.production.global. 5 IN SRV 3 1 9000 east.shop.production.global.",
			"_http._tcp.shop.production.global. 5 IN SRV 3 1 15443 central.shop.production.global.", "_http._tcp.shop.production.global. 5 IN SRV 3 1 9000 east.shop.production.global.",
			"central.shop.production.global. 5 IN A 192.0.2.1", "central.shop.production.global. 5 IN AAAA 2001:db8::1",
			"central.shop.production.global. 5 IN SRV 3 1 15443 central.shop.production.global.",
			"_http._tcp.central.shop.production.global. 5 IN SRV 3 1 15443 central.shop.production.global.",
			"east.shop.production.global. 5 IN A 192.0.2.2", "east.shop.production.global. 5 IN A 192.0.2.1",
			"east.shop.production.global. 5 IN SRV 3 1 9000 east.shop.production.global.",
			"_http._tcp.east.shop.production.global. 5 IN SRV 3 1 9000 east.shop.production.global.",
			"www.global. 5 IN A 192.0.2.1", "www.global. 5 IN A 192.0.2.2", "www.global. 5 IN AAAA 2001:db8::1",
			"www.global. 5 IN SRV 3 1 15443 central.shop.production.global.", "www.global. 5 IN SRV 3 1 9000 east.shop.production.global.",
			"_http._tcp.www.global. 5 IN SRV 3 1 15443 central.shop.production.global.", "_http._tcp.www.global. 5 IN SRV 3 1 9000 east.shop.production.global.",
		}},
		{"clusterset.local.", []string{
			"clusterset.local. 5 IN NS ns.dns.clusterset.local.", "ns.dns.clusterset.local. 5 IN A 192.0.2.53", "ns.dns.clusterset.local. 5 IN AAAA 2001:db8::53",
			`dns-version.clusterset.local. 5 IN TXT "1.0.0"`,
			"ns.dns.svc.clusterset.local. 5 IN A 10.1.0.9", "_http._tcp.ns.dns.svc.clusterset.local. 5 IN SRV 0 100 80 ns.dns.svc.clusterset.local.",
			"orders.production.svc.clusterset.local. 5 IN A 10.1.9.1", "orders-0.west.orders.production.svc.clusterset.local. 5 IN A 10.1.9.1",
			"_http._tcp.orders.production.svc.clusterset.local. 5 IN SRV 0 100 80 orders-0.west.orders.production.svc.clusterset.local.",
			"shop.production.svc.clusterset.local. 5 IN A 192.0.2.1", "shop.production.svc.clusterset.local. 5 IN A 192.0.2.2", "shop.production.svc.clusterset.local. 5 IN AAAA 2001:db8::1",
			"_http._tcp.shop.production.svc.clusterset.local. 5 IN SRV 3 1 15443 central.shop.production.global.",
			"_http._tcp.shop.production.svc.clusterset.local. 5 IN SRV 3 1 9000 east.shop.production.global.",
		}},
		{"10.in-addr.arpa.", []string{
			"10.in-addr.arpa. 5 IN NS ns.dns.global.",
			"9.0.1.10.in-addr.arpa. 5 IN PTR ns.dns.global.",
			"1.9.1.10.in-addr.arpa. 5 IN PTR orders-0.west.orders.production.global.",
		}},
		{"in-addr.arpa.", []string{
			"in-addr.arpa. 5 IN NS ns.dns.global.", "10.in-addr.arpa. 5 IN NS ns.dns.global.",
			"1.2.0.192.in-addr.arpa. 5 IN PTR central.gateway.global.", "1.2.0.192.in-addr.arpa. 5 IN PTR east.gateway.global.",
			"2.2.0.192.in-addr.arpa. 5 IN PTR east.gateway.global.",
		}},
	}
	for _, tc := range tests {
		t.Run(tc.origin, func(t *testing.T) {
			got := transferred(t, p, tc.origin)
			require.IsType(t, &dns.SOA{}, got[0])
			require.Equal(t, got[0].String(), got[len(got)-1].String())
			rest := slices.DeleteFunc(got[1:len(got)-1], func(rr dns.RR) bool {
				return rr.Header().Rrtype == dns.TypeSVCB // says what SRV says
			})
			require.ElementsMatch(t, tc.want, lines(rest))
		})
	}
}

// What queries are answered with is in the transfer, and each name of the
// transfer is answered.
func TestTransferIsWhatIsAnswered(t *testing.T) {
	requireTransferIsAnswered(t, transferZones(t, kindsTable(t)))
}

// What is not answered now is not transferred either: gateways of a cluster
// without ready endpoints, one that is down beside another, hosts behind it.
func TestTransferWhileGatewaysAreDown(t *testing.T) {
	table := demoTable(t)
	many := func(a, b string) []discovery.Gateway { return []discovery.Gateway{gateway(8443, a), gateway(9443, b)} }
	db := service("n", "db", 1, 1)
	db.Kind = discovery.KindHeadless
	db.Endpoints = []discovery.Endpoint{{Addr: netip.MustParseAddr("10.9.0.1"), Hostname: "db-0", Ready: true}}
	apply(t, table, cluster("idle", eastLocality, many("192.0.2.1", "192.0.2.2")...), 1, service("n", "s", 0, 1), db)
	apply(t, table, cluster("dead", eastLocality, many("192.0.2.3", "192.0.2.4")...), 1, service("n", "s", 1, 1), db)
	apply(t, table, cluster("half", eastLocality, many("192.0.2.5", "192.0.2.6")...), 1, service("n", "s", 1, 1), db)
	p := transferZones(t, table)
	p.view.link.(*fakeLink).probe(map[string]replica.GatewayState{
		"dead 192.0.2.3:8443": down, "dead 192.0.2.4:9443": down, "half 192.0.2.5:8443": down, "half 192.0.2.6:9443": up,
	})
	requireTransferIsAnswered(t, p)
}

func requireTransferIsAnswered(t *testing.T, p *Isthmus) {
	for _, z := range p.zones {
		t.Run(z.origin, func(t *testing.T) {
			all := transferred(t, p, z.origin)
			has := lines(all)
			slices.Sort(has)
			unique := slices.Compact(slices.Clone(has))
			require.Len(t, has, len(unique)+1, "only SOA is there twice")
			for _, rr := range all {
				h := rr.Header()
				for range 4 {
					got, _ := ask(t, p, question(h.Name, h.Rrtype))
					require.NotNil(t, got, rr)
					require.NotEmpty(t, got.Answer, rr)
					for _, line := range lines(got.Answer) {
						require.Contains(t, unique, line)
					}
				}
			}
		})
	}
}

// Names of a zone below this one belong to that.
func TestTransferNestedZones(t *testing.T) {
	table := demoTable(t)
	apply(t, table, cluster("west", westLocality), 9, service("inner", "a", 1, 1, "10.1.0.1"), service("outer", "a", 1, 1, "10.1.0.2"))
	p := transferZones(t, table)
	p.zones = zones{newZone("global."), newZone("inner.global.")}
	var owners []string
	for _, rr := range transferred(t, p, "global.") {
		owners = append(owners, rr.Header().Name)
	}
	require.Contains(t, owners, "a.outer.global.")
	require.Contains(t, owners, "inner.global.", "a delegation")
	require.Contains(t, owners, "ns.dns.inner.global.", "and its glue")
	require.NotContains(t, owners, "a.inner.global.")
}

func TestTransferSerial(t *testing.T) {
	table := demoTable(t)
	p := transferZones(t, table)
	serial := p.view.currentSerial()
	count := func(serial uint32) (n int) {
		out, err := p.Transfer("global.", serial)
		require.NoError(t, err)
		for piece := range out {
			n += len(piece)
		}
		return n
	}
	require.Equal(t, 1, count(serial), "the client has it")
	require.Equal(t, 1, count(serial+1), "the client has a newer one (RFC 1995 section 2)")
	require.Greater(t, count(serial-1), 10)
	apply(t, table, cluster("west", westLocality, gateway(15443, "127.1.0.10")), 9)
	require.Greater(t, count(serial), 10)
}

func TestTransferRefused(t *testing.T) {
	p := transferZones(t, demoTable(t))
	for _, origin := range []string{"example.org.", "production.global.", ".", "local."} {
		_, err := p.Transfer(origin, 0)
		require.ErrorIs(t, err, transfer.ErrNotAuthoritative, origin)
	}
	p.view.reverse.current.Store(nil)
	_, err := p.Transfer("10.in-addr.arpa.", 0)
	require.ErrorIs(t, err, errNotLoaded)
	p.view.link.(*fakeLink).view.Store(nil)
	_, err = p.Transfer("global.", 0)
	require.ErrorIs(t, err, errNotLoaded)
	p = transferZones(t, discovery.NewTable())
	_, err = p.Transfer("global.", 0)
	require.ErrorIs(t, err, errNotLoaded)
}

// A client that stops reading costs one of the few places for a while, and then
// nothing: no goroutine is left.
func TestTransferSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := transferZones(t, demoTable(t))
		var outs []<-chan []dns.RR
		for range maxTransfers {
			out, err := p.Transfer("global.", 0)
			require.NoError(t, err)
			outs = append(outs, out)
		}
		_, err := p.Transfer("global.", 0)
		require.ErrorIs(t, err, errManyTransfers)
		time.Sleep(transferPatience + time.Millisecond)
		synctest.Wait()
		for _, out := range outs {
			_, open := <-out
			require.False(t, open)
		}
		require.NotEmpty(t, transferred(t, p, "global."))
	})
}

// However slow and however large: a transfer ends.
func TestTransferTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := transferZones(t, ownTable(t, 10_000))
		out, err := p.Transfer("global.", 0)
		require.NoError(t, err)
		start := time.Now()
		var last []dns.RR
		for piece := range out {
			last = piece
			time.Sleep(transferPatience - time.Second)
		}
		require.Less(t, time.Since(start), transferTime+2*transferPatience)
		require.NotEqual(t, dns.TypeSOA, last[len(last)-1].Header().Rrtype, "not a whole zone")
	})
}

// A transfer keeps nothing in the table.
func TestTransferLeavesNoMemo(t *testing.T) {
	table := demoTable(t)
	p := transferZones(t, table)
	transferred(t, p, "global.")
	transferred(t, p, "clusterset.local.")
	table.Walk(func(e *discovery.Entry) bool {
		require.Nil(t, e.Memo(p.view))
		return true
	})
}

// transferWith asks a server for a zone by TCP.
func transferWith(t *testing.T, addr string, m *dns.Msg) ([]dns.RR, error) {
	t.Helper()
	envelopes, err := new(dns.Transfer).In(m, addr)
	require.NoError(t, err)
	var all []dns.RR
	for e := range envelopes {
		if e.Error != nil {
			return nil, e.Error
		}
		all = append(all, e.RR...)
	}
	return all, nil
}

// A server with zones of all kinds, in CoreDNS's hands.
func TestServerZones(t *testing.T) {
	o := replaceOpen(t)
	l := newLink(kindsTable(t))
	l.view.Store(&View{Cluster: "west", Network: "flat", Locality: westLocality})
	apply(t, l.table, cluster("large", eastLocality, gateway(1, "192.0.2.200")), 1, ownServices(3000)...)
	o.link = func(linkConfig) *fakeLink { return l }
	i := start(t, `global.:0 clusterset.local.:0 10.0.0.0/8:0 {
	bind 127.0.0.1
	isthmus {
		watcher 127.0.0.1:1
		insecure
		mcs clusterset.local
		fallthrough 10.0.0.0/8
	}
	transfer global. 10.in-addr.arpa. {
		to *
	}
	transfer clusterset.local. {
		to 192.0.2.1
	}
}
`)
	udp, tcp := ports(i.Load())
	require.Eventually(t, func() bool {
		return exchange(t, "udp", udp, question("1.0.1.10.in-addr.arpa.", dns.TypePTR)).Rcode == dns.RcodeSuccess
	}, 5*time.Second, time.Millisecond, "the index is built when the stanza starts")
	m := exchange(t, "udp", udp, question("user-service.production.svc.clusterset.local.", dns.TypeA))
	require.Len(t, m.Answer, 1)
	m = exchange(t, "udp", udp, question("254.0.0.10.in-addr.arpa.", dns.TypePTR))
	require.Equal(t, dns.RcodeServerFailure, m.Rcode, "fell through, to nobody")
	m = exchange(t, "udp", udp, question("x.y.svc.clusterset.local.", dns.TypePTR))
	require.Equal(t, dns.RcodeNameError, m.Rcode)

	all, err := transferWith(t, tcp, new(dns.Msg).SetAxfr("global."))
	require.NoError(t, err)
	require.Greater(t, len(all), 3000*5)
	require.Equal(t, all[0].String(), all[len(all)-1].String())
	require.Contains(t, lines(all), "user-service.production.global. 5 IN A 10.1.0.1")
	all, err = transferWith(t, tcp, new(dns.Msg).SetAxfr("10.in-addr.arpa."))
	require.NoError(t, err)
	require.Contains(t, lines(all), "1.0.1.10.in-addr.arpa. 5 IN PTR user-service.production.global.")
	soa := all[0].(*dns.SOA)
	m = exchange(t, "tcp", tcp, new(dns.Msg).SetIxfr("global.", soa.Serial, soa.Ns, soa.Mbox))
	require.Len(t, m.Answer, 1)
	_, err = transferWith(t, tcp, new(dns.Msg).SetAxfr("clusterset.local."))
	require.ErrorContains(t, err, "bad xfr rcode: 5", "not in the list")
	_, err = transferWith(t, tcp, new(dns.Msg).SetAxfr("production.global."))
	require.ErrorContains(t, err, "bad xfr rcode: 5")
	m = exchange(t, "udp", udp, new(dns.Msg).SetAxfr("global."))
	require.Equal(t, dns.RcodeRefused, m.Rcode)
}

// BenchmarkTransfer sends all names of 10,000 services.
func BenchmarkTransfer(b *testing.B) {
	p := transferZones(b, ownTable(b, 10_000))
	b.ReportAllocs()
	for b.Loop() {
		out, err := p.Transfer("global.", 0)
		require.NoError(b, err)
		for range out {
			continue
		}
	}
}
