package isthmus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// writer drops replies; unlike a recorder it doesn't allocate.
type writer struct {
	test.ResponseWriter
	msg *dns.Msg
}

func (w *writer) WriteMsg(m *dns.Msg) error {
	w.msg = m
	return nil
}

// largeTable is the demo's and 100,000 services in ten clusters.
func largeTable(tb testing.TB) *discovery.Table {
	table := demoTable(tb)
	for c := range 10 {
		services := make([]*discovery.Service, 10_000)
		for i := range services {
			services[i] = service(fmt.Sprint("ns", i%100), fmt.Sprint("svc", c%2, "-", i), 2, 2)
		}
		name := fmt.Sprint("large", c)
		table.Apply(name, discovery.Update{
			Cluster:  cluster(name, eastLocality, gateway(1, fmt.Sprint("192.0.2.", c+1))),
			Whole:    true,
			Services: services,
		}, discovery.Version{Epoch: 1, Seq: 1})
	}
	return table
}

var benchmarks = []struct {
	name  string
	qname string
	qtype uint16
	// allocs is the ceiling of DESIGN section 10 for what applications ask
	// often; others have their own.
	allocs float64
}{
	{"A/own", "user-service.production.global.", dns.TypeA, 1},
	{"A/remote", "payment-service.production.global.", dns.TypeA, 1},
	{"A/5of10", "svc0-42.ns42.global.", dns.TypeA, 1},
	{"A/case", "Payment-Service.production.global.", dns.TypeA, 2},
	{"A/alias", "users.global.", dns.TypeA, 1},
	{"AAAA", "user-service.production.global.", dns.TypeAAAA, 1},
	{"AAAA/nodata", "payment-service.production.global.", dns.TypeAAAA, 1},
	{"nxdomain", "nobody.production.global.", dns.TypeA, 1},
	{"cluster", "east.payment-service.production.global.", dns.TypeA, 1},
	{"SRV/2", "_http._tcp.payment-service.production.global.", dns.TypeSRV, 1},
	{"SRV/3", "user-service.production.global.", dns.TypeSRV, 2}, // and an IPv6 address
	{"zone", "us-east1-b.pin._zone.payment-service.production.global.", dns.TypeA, 1},
	{"zone/unknown", "x.pin._zone.payment-service.production.global.", dns.TypeA, 1},
	{"HTTPS/nodata", "user-service.production.global.", dns.TypeHTTPS, 1},
	{"SRV/5", "_http._tcp.svc0-42.ns42.global.", dns.TypeSRV, 3},
}

func BenchmarkServeDNS(b *testing.B) {
	p := newPlugin(newLink(largeTable(b)))
	p.random = rand.Uint64
	for _, bc := range benchmarks {
		b.Run(bc.name, func(b *testing.B) {
			w, req, ctx := &writer{}, question(bc.qname, bc.qtype), context.Background()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.ServeDNS(ctx, w, req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkServeDNSSpread asks for all services in turn, so that neither the
// table nor what was built for it stays in the processor's cache.
func BenchmarkServeDNSSpread(b *testing.B) {
	p := newPlugin(newLink(largeTable(b)))
	p.random = rand.Uint64
	var reqs []*dns.Msg
	for i := range 10_000 {
		reqs = append(reqs, question(fmt.Sprintf("svc%d-%d.ns%d.global.", i%2, i, i%100), dns.TypeA))
	}
	w, ctx, i := &writer{}, context.Background(), 0
	for _, req := range reqs { // what the first query builds is BenchmarkBuild's
		if _, err := p.ServeDNS(ctx, w, req); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.ServeDNS(ctx, w, reqs[i]); err != nil {
			b.Fatal(err)
		}
		if i++; i == len(reqs) {
			i = 0
		}
	}
}

// BenchmarkBuild is what the first query after a change costs.
func BenchmarkBuild(b *testing.B) {
	l := newLink(largeTable(b))
	p := newPlugin(l)
	e := l.table.Lookup("svc0-42.ns42")
	b.ReportAllocs()
	for b.Loop() {
		p.view.build(e, p.view.outlook.facts(l.View()), l.table.Records())
	}
}

// BenchmarkCollect is what the most addresses that a cluster can name cost.
func BenchmarkCollect(b *testing.B) {
	var all []netip.Addr
	for i := range discovery.MaxGateways * discovery.MaxAddresses {
		all = append(all, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	b.ReportAllocs()
	for b.Loop() {
		collect(locality.ByGateway, locality.NoGateway, all)
	}
}

func TestAllocs(t *testing.T) {
	p := newPlugin(newLink(largeTable(t)))
	for _, bc := range benchmarks {
		t.Run(bc.name, func(t *testing.T) {
			w, req, ctx := &writer{}, question(bc.qname, bc.qtype), context.Background()
			allocs := testing.AllocsPerRun(200, func() {
				_, _ = p.ServeDNS(ctx, w, req)
			})
			require.NotNil(t, w.msg)
			require.LessOrEqual(t, allocs, bc.allocs)
		})
	}
}
