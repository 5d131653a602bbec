package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

func benchProber(b *testing.B, clusters, gateways int) *Prober {
	p, err := New(Config{})
	require.NoError(b, err)
	var targets []Target
	for c := range clusters {
		for g := range gateways {
			targets = append(targets, Target{Cluster: fmt.Sprint("c", c), Addr: netip.AddrFrom4([4]byte{198, 18, byte(c), byte(g)}).Next(), Port: uint16(443 + c>>8)})
		}
	}
	p.SetTargets(targets)
	require.True(b, p.begin())
	return p
}

// What a check costs besides the network: choosing it, taking its result in,
// scheduling the next. 2,000 targets at 5 s have 400 of these a second.
func BenchmarkSchedule(b *testing.B) {
	p := benchProber(b, 500, 4)
	now := time.Now().Add(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		j, _ := p.step(now)
		p.mu.Lock()
		p.inFlight--
		p.starts = time.Time{}
		p.storeLocked(j.probe, result{rtt: ms}, now)
		p.queue.at(&j.probe.job, j.probe.record.next(j.due, j.probe.health, DefaultDamping, 0.5))
		p.mu.Unlock()
	}
}

// A publication in which one of 500 clusters has changed.
func BenchmarkPublish(b *testing.B) {
	p := benchProber(b, 500, 4)
	p.publishLocked(time.Now())
	g := p.groups["c7"]
	b.ReportAllocs()
	for b.Loop() {
		for _, probe := range g.probes {
			probe.record.since = time.Now()
		}
		p.markLocked(g, true)
		p.publishLocked(time.Now())
	}
}

// A list that is the same as before, as it mostly is.
func BenchmarkSetTargets(b *testing.B) {
	p := benchProber(b, 500, 4)
	var targets []Target
	for _, g := range p.groups {
		targets = append(targets, g.wanted...)
	}
	b.ReportAllocs()
	for b.Loop() {
		p.SetTargets(targets)
	}
}

// Whole checks over loopback; the server's part is in it, too.
func BenchmarkCheck(b *testing.B) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", freeport.Port(b)))
	require.NoError(b, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				readRequest(conn)
				_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
				conn.Close()
			}()
		}
	}()
	at := netip.MustParseAddrPort(l.Addr().String())
	c := checker{dial: dialTCP}
	for name, check := range map[string]discovery.Check{"tcp": discovery.CheckTCP, "http": discovery.CheckHTTP} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := c.check(context.Background(), Target{Addr: at.Addr(), Port: at.Port(), Check: check, Path: "/"}, time.Second)
				if r.outcome != good {
					b.Fatal(r.detail)
				}
			}
		})
	}
}

// The walk over a table of 100,000 services that use their clusters' sets.
func BenchmarkOf(b *testing.B) {
	table := discovery.NewTable()
	for c := range 100 {
		name := fmt.Sprint("c", c)
		var services []*discovery.Service
		for s := range 1000 {
			services = append(services, &discovery.Service{
				Namespace: "ns", Name: fmt.Sprint("s", s), Kind: discovery.KindClusterIP,
				Ports: []discovery.Port{{Protocol: discovery.TCP, Port: 80}},
			})
		}
		record := &discovery.Cluster{Name: name, GatewaySets: []discovery.GatewaySet{{Name: discovery.DefaultGatewaySet, Gateways: []discovery.Gateway{
			{Addresses: []netip.Addr{netip.AddrFrom4([4]byte{198, 18, 0, byte(c)})}, Port: 15443},
		}}}}
		table.Apply(name, discovery.Update{Cluster: record, Whole: true, Services: services}, discovery.Version{Epoch: 1})
	}
	b.ReportAllocs()
	for b.Loop() {
		require.Len(b, Of(table, ""), 100)
	}
}
