package isthmus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Many ask for names of all kinds while everything that answers are made of
// changes. What is built at the first query is shared by all that come after, so
// this is for the race detector; besides, a service that is always there has
// always an address.
func TestAskedWhileTheTableChanges(t *testing.T) {
	table := kindsTable(t)
	changing := func(step uint16) *discovery.Service {
		s := service("production", "user-service", 1+uint32(step%3), 4)
		s.Ports = append(s.Ports, tcpPort("https", 443, 0), tcpPort("admin", 8000+step%2, 0))
		s.Counts = append(s.Counts, discovery.ZoneCount{Zone: "us-east1-c", Ready: uint32(step % 2), Total: 1})
		s.Aliases = []string{fmt.Sprint("alias-", step%2, ".global")}
		return s
	}
	p := manyZones(t, table)
	p.random = rand.Uint64
	p.told = true
	l := p.view.link.(*fakeLink)
	var stop atomic.Bool
	var changes, asking sync.WaitGroup
	changes.Go(func() {
		sweep := &reverseSweep{}
		for step := uint16(0); !stop.Load(); step++ {
			gateways := []discovery.Gateway{gateway(15443, "127.3.0.10"), gateway(15443+step%2, fmt.Sprint("127.3.0.", 11+step%3)), named("lb.example.net")}
			gateways[1].Weight = uint32(step % 2 * 3)
			version := discovery.Version{Epoch: 2, Seq: uint64(step)}
			table.Apply("east", discovery.Update{Cluster: cluster("east", eastLocality, gateways...), Services: []*discovery.Service{changing(step)}}, version)
			l.view.Store(&View{Cluster: "west", Network: []string{"flat", ""}[step%2], Locality: westLocality})
			p.view.names.generation.Add(1)
			l.stale.Store(step%2 == 0)
			sweep.seen, sweep.walked = reverseState{}, sweep.walked.Add(-walkServices)
			p.view.reverse.sweep(sweep)
		}
	})
	names := []string{
		"user-service.production.global.", "User-Service.production.example.", "east.user-service.production.global.", "_https._tcp.user-service.production.global.",
		"15443.gateway.east.user-service.production.global.", "us-east1-c.pin._zone.user-service.production.global.", "us-east1.prefer._region.east.user-service.production.global.",
		"_443._https.user-service.production.global.", "_why.user-service.production.global.", "alias-1.global.", "_https._tcp.alias-0.global.", "_clusters.global.",
		"user-service.production.svc.clusterset.local.", "_http._tcp.user-service.production.svc.set.example.", "_admin._tcp.user-service.production.svc.clusterset.local.",
		"peers.data.svc.clusterset.local.", "peer-0.north.peers.data.svc.clusterset.local.", "peer-0.north.peers.data.global.", "_http._tcp.peers.data.svc.clusterset.local.",
		"east.gateway.global.", "10.0.3.127.in-addr.arpa.", "3.127.in-addr.arpa.", "in-addr.arpa.", "no.such.global.",
	}
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeHTTPS, dns.TypeSVCB, dns.TypeTXT, dns.TypePTR, dns.TypeSOA, dns.TypeANY}
	for range 8 {
		asking.Go(func() {
			for i := range 4000 {
				qname, qtype := names[i%len(names)], types[rand.IntN(len(types))]
				w := &writer{}
				o := &outcome{}
				_, err := p.ServeDNS(context.WithValue(t.Context(), outcomeKey{}, o), w, question(qname, qtype))
				if !assert.NoError(t, err) || w.msg == nil {
					continue // SERVFAIL of a gateway's host name
				}
				_, _, _, _ = o.service(), o.cluster(), o.tier(), o.resultName()
				_, err = w.msg.Pack()
				assert.NoError(t, err)
				if qtype == dns.TypeA && i%len(names) == 0 {
					assert.NotEmpty(t, w.msg.Answer)
				}
			}
		})
	}
	asking.Go(func() {
		for range 5 {
			for _, origin := range []string{"global.", "clusterset.local.", "in-addr.arpa."} {
				out, err := p.Transfer(origin, 0)
				if !assert.NoError(t, err) {
					continue
				}
				var all []dns.RR
				for piece := range out {
					all = append(all, piece...)
				}
				first, last := all[0].(*dns.SOA), all[len(all)-1].(*dns.SOA)
				assert.Equal(t, first.Serial, last.Serial)
			}
		}
	})
	asking.Wait()
	stop.Store(true)
	changes.Wait()
	require.NotZero(t, p.view.currentSerial())
}
