package isthmus

import (
	"context"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

// nestedZones lie in one another, each in one of another kind.
func nestedZones(t testing.TB) *Isthmus {
	p := manyZones(t, kindsTable(t))
	z := p.zones[0].names
	p.zones = zones{
		z, newMCSZone("set.a.b.global.", z), newZone("x.y.svc.set.a.b.global."), newZone("deep.east.payment-service.production.global."),
		newReverseZone("in-addr.arpa.", z), newReverseZone("3.2.172.in-addr.arpa.", z), newReverseZone("10.in-addr.arpa.", z),
		newMCSZone("local.", z), newZone("q.local."), newMCSZone("m.n.o.q.local.", z),
	}
	return p
}

// Names between two zones exist, whatever kinds the zones are (RFC 8020), and
// what denies is the SOA record of the zone that a name is in.
func TestNestedZones(t *testing.T) {
	p := nestedZones(t)
	tests := []struct {
		qname  string
		nodata bool
		soa    string
	}{
		{"b.global.", true, "global."},
		{"a.b.global.", true, "global."},
		{"c.b.global.", false, "global."},
		{"svc.set.a.b.global.", true, "set.a.b.global."},
		{"y.svc.set.a.b.global.", true, "set.a.b.global."},
		{"z.svc.set.a.b.global.", false, "set.a.b.global."},
		{"v.x.y.svc.set.a.b.global.", false, "x.y.svc.set.a.b.global."},
		{"east.payment-service.production.global.", true, "global."},
		{"deep.east.payment-service.production.global.", true, "deep.east.payment-service.production.global."},
		{"shallow.east.payment-service.production.global.", false, "global."},
		{"172.in-addr.arpa.", true, "in-addr.arpa."},
		{"2.172.in-addr.arpa.", true, "in-addr.arpa."},
		{"4.2.172.in-addr.arpa.", false, "in-addr.arpa."},
		{"1.3.2.172.in-addr.arpa.", false, "3.2.172.in-addr.arpa."},
		{"x.10.in-addr.arpa.", false, "10.in-addr.arpa."},
		{"x.local.", false, "local."},
		{"o.q.local.", true, "q.local."},
		{"n.o.q.local.", true, "q.local."},
		{"l.n.o.q.local.", false, "q.local."},
		{"x.m.n.o.q.local.", false, "m.n.o.q.local."},
	}
	for _, tc := range tests {
		t.Run(tc.qname, func(t *testing.T) {
			for _, qtype := range []uint16{dns.TypeTXT, dns.TypeDNSKEY, dns.TypeCAA, 65280} {
				got, rcode := ask(t, p, question(tc.qname, qtype))
				require.Equal(t, tc.nodata, rcode == dns.RcodeSuccess, dns.TypeToString[qtype])
				require.Empty(t, got.Answer)
				require.Equal(t, tc.soa, got.Ns[0].Header().Name)
			}
		})
	}
}

// DS is in the zone above, if that is ours too (RFC 4035 section 3.1.4.1).
func TestDSOfNestedZones(t *testing.T) {
	p := nestedZones(t)
	for qname, soa := range map[string]string{
		"set.a.b.global.": "global.", "x.y.svc.set.a.b.global.": "set.a.b.global.", "10.in-addr.arpa.": "in-addr.arpa.",
		"Q.local.": "local.", "global.": "global.", "payment-service.production.global.": "global.",
	} {
		got, rcode := ask(t, p, question(qname, dns.TypeDS))
		require.Equal(t, dns.RcodeSuccess, rcode, qname)
		require.Empty(t, got.Answer)
		require.Equal(t, soa, got.Ns[0].Header().Name, qname)
	}
}

// All kinds of zones answer for their own names in the same way.
func TestApexes(t *testing.T) {
	p := nestedZones(t)
	p.zones = append(p.zones, newReverseZone("10.0.1.127.in-addr.arpa.", p.zones[0]))
	for _, z := range p.zones {
		for qtype, want := range map[uint16]uint16{dns.TypeSOA: dns.TypeSOA, dns.TypeNS: dns.TypeNS, dns.TypeANY: dns.TypeHINFO} {
			got, _ := ask(t, p, question(z.origin, qtype))
			require.Len(t, got.Answer, 1, z.origin)
			require.Equal(t, want, got.Answer[0].Header().Rrtype, z.origin)
		}
		for _, qtype := range []uint16{dns.TypeA, dns.TypeDNSKEY, dns.TypeCAA, dns.TypeSRV, dns.TypeHTTPS} {
			got, rcode := ask(t, p, question(z.origin, qtype))
			require.Equal(t, dns.RcodeSuccess, rcode)
			require.Empty(t, got.Answer)
			require.Equal(t, z.origin, got.Ns[0].Header().Name)
		}
	}
	got, _ := ask(t, p, question("10.0.1.127.in-addr.arpa.", dns.TypePTR))
	require.Equal(t, "west.gateway.global.", got.Answer[0].(*dns.PTR).Ptr, "a zone of one address")
}

// Stale answers say so in each kind of zone, whatever they are.
func TestStaleKinds(t *testing.T) {
	p := nestedZones(t)
	p.view.link.(*fakeLink).stale.Store(true)
	code := func(qname string, qtype uint16) uint16 {
		req := question(qname, qtype)
		req.SetEdns0(1232, false)
		got, _ := ask(t, p, req)
		require.Len(t, got.IsEdns0().Option, 1, qname)
		return got.IsEdns0().Option[0].(*dns.EDNS0_EDE).InfoCode
	}
	for qname, qtype := range map[string]uint16{
		"user-service.production.global.": dns.TypeSRV, "user-service.production.svc.local.": dns.TypeA, "svc.local.": dns.TypeA,
		"10.0.1.127.in-addr.arpa.": dns.TypePTR, "127.in-addr.arpa.": dns.TypePTR, "east.user-service.production.global.": dns.TypeHTTPS,
	} {
		require.Equal(t, dns.ExtendedErrorCodeStaleAnswer, code(qname, qtype), qname)
	}
	for _, qname := range []string{"no.such.global.", "no.such.svc.local.", "2.2.0.192.in-addr.arpa."} {
		require.Equal(t, dns.ExtendedErrorCodeStaleNXDOMAINAnswer, code(qname, dns.TypePTR), qname)
	}
}

// An alias may be what is above the names of gateways.
func TestAliasAboveGateways(t *testing.T) {
	table := kindsTable(t)
	s := service("production", "shop", 1, 1, "10.1.0.77")
	s.Aliases = []string{"gateway.global"}
	apply(t, table, cluster("west", westLocality), 9, s)
	p := manyZones(t, table)
	got, _ := ask(t, p, question("gateway.global.", dns.TypeA))
	require.Len(t, got.Answer, 1)
	require.Equal(t, "10.1.0.77", got.Answer[0].(*dns.A).A.String())
}

// Before the addresses' names are collected, nothing is said of gateways'.
func TestGatewaysNotCollected(t *testing.T) {
	p := manyZones(t, kindsTable(t))
	p.view.reverse.current.Store(nil)
	got, rcode := ask(t, p, question("south.gateway.global.", dns.TypeA))
	require.Nil(t, got)
	require.Equal(t, dns.RcodeServerFailure, rcode)
	_, rcode = ask(t, p, question("gateway.global.", dns.TypeA))
	require.Equal(t, dns.RcodeSuccess, rcode)
}

// What is read of a label ends where the label does.
func TestEscapedDots(t *testing.T) {
	p := manyZones(t, kindsTable(t))
	for qname, want := range map[string]int{
		`x\.pin._zone.user-service.production.global.`:        dns.RcodeNameError,
		`x\.prefer._zone.user-service.production.global.`:     dns.RcodeNameError,
		`x\\.pin._zone.user-service.production.global.`:       dns.RcodeSuccess,
		`x\\\.pin._zone.users.global.`:                        dns.RcodeNameError,
		`x\.y.pin._zone.users.global.`:                        dns.RcodeSuccess,
		`x\.user-service.production.global.`:                  dns.RcodeNameError,
		`_http\._tcp.user-service.production.global.`:         dns.RcodeNameError,
		`_why\.users.global.`:                                 dns.RcodeNameError,
		`15443\.gateway.east.user-service.production.global.`: dns.RcodeNameError,
		`x\.svc.clusterset.local.`:                            dns.RcodeNameError,
		`1\.0.0.10.in-addr.arpa.`:                             dns.RcodeNameError,
	} {
		_, rcode := ask(t, p, question(qname, dns.TypeA))
		require.Equal(t, want, rcode, qname)
	}
}

// A type that a name doesn't have is not waited for.
func TestOtherTypesOfUnresolvedGateways(t *testing.T) {
	table := discovery.NewTable()
	s := service("data", "db", 1, 1)
	s.Kind = discovery.KindHeadless
	s.Endpoints = []discovery.Endpoint{{Addr: addrs("10.9.0.1")[0], Hostname: "db-0", Ready: true}}
	apply(t, table, cluster("east", eastLocality, named("lb.example.net")), 1, s)
	table.SetLoaded()
	p := newPlugin(newLink(table))
	for _, qname := range []string{"db.data.global.", "east.db.data.global.", "db-0.east.db.data.global.", "0.gateway.east.db.data.global."} {
		_, rcode := ask(t, p, question(qname, dns.TypeCAA))
		require.Equal(t, dns.RcodeSuccess, rcode, qname)
		_, rcode = ask(t, p, question(qname, dns.TypeA))
		require.Equal(t, dns.RcodeServerFailure, rcode, qname)
	}
}

// What metadata tells is the cluster whose addresses were answered.
func TestOutcome(t *testing.T) {
	p := manyZones(t, kindsTable(t))
	p.told = true
	tests := []struct {
		qname                  string
		qtype                  uint16
		service, cluster, tier string
	}{
		{"us-east1-b.pin._zone.user-service.production.global.", dns.TypeA, "user-service.production", "east", "other"},
		{"us-east1-b.pin._zone.user-service.production.global.", dns.TypeSRV, "user-service.production", "", ""},
		{"us-east1-b.pin._zone.east.user-service.production.global.", dns.TypeA, "user-service.production", "east", "other"},
		{"nowhere.prefer._zone.user-service.production.global.", dns.TypeA, "user-service.production", "west", "own"},
		{"nowhere.pin._zone.west.user-service.production.global.", dns.TypeA, "user-service.production", "west", "own"},
		{"0.gateway.east.apollo-configservice.apollo.global.", dns.TypeA, "apollo-configservice.apollo", "east", "other"},
		{"user-service.production.svc.clusterset.local.", dns.TypeA, "user-service.production", "west", "own"},
		{"_http._tcp.user-service.production.svc.clusterset.local.", dns.TypeSRV, "user-service.production", "", ""},
		{"peer-0.north.peers.data.svc.clusterset.local.", dns.TypeA, "peers.data", "north", "other"},
		{"peers.data.svc.clusterset.local.", dns.TypeA, "peers.data", "", ""},
		{"10.0.1.127.in-addr.arpa.", dns.TypePTR, "", "", ""},
		{"no.production.svc.clusterset.local.", dns.TypeA, "", "", ""},
	}
	for _, tc := range tests {
		t.Run(tc.qname, func(t *testing.T) {
			o := &outcome{}
			_, err := p.ServeDNS(context.WithValue(t.Context(), outcomeKey{}, o), &writer{}, question(tc.qname, tc.qtype))
			require.NoError(t, err)
			require.Equal(t, []string{tc.service, tc.cluster, tc.tier}, []string{o.service(), o.cluster(), o.tier()})
		})
	}
}
