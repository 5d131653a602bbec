package conform

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// TestInnerLabels asks all names of the zones, all above them, and some below
// each, for a type that no name has: NODATA where there is the name or one
// below it (RFC 8020), NXDOMAIN elsewhere, and how long that may be kept (RFC
// 2308 section 5).
func TestInnerLabels(t *testing.T) {
	m := NewModel()
	a := serve(t, m, "")
	type probe struct{ name, origin string }
	exists := map[string]bool{}
	var probes []probe
	for _, origin := range origins {
		for name := range m.Zone(origin).Nodes {
			for ; !exists[name]; _, name, _ = strings.Cut(name, ".") {
				exists[name] = true
				probes = append(probes, probe{name, origin})
				label := []string{"_tcp", "_udp", "*", "nobody"}[len(probes)/2%4]
				probes = append(probes, probe{"_tcp." + name, origin}, probe{label + "." + name, origin})
				if name == origin {
					break
				}
			}
		}
	}
	var next, denied atomic.Int64
	var g errgroup.Group
	for range inFlight {
		g.Go(func() error {
			asks := &asker{addr: a.DNS}
			defer asks.close()
			for i := next.Add(1) - 1; i < int64(len(probes)); i = next.Add(1) - 1 {
				p := probes[i]
				r, err := asks.ask(query{msg: new(dns.Msg).SetQuestion(p.name, dns.TypeMX), network: "udp"})
				if err != nil {
					return err
				}
				want := dns.RcodeNameError
				if exists[p.name] {
					want = dns.RcodeSuccess
				} else {
					denied.Add(1)
				}
				if err := negative(r, want, p.origin); err != nil {
					return fmt.Errorf("%s: %w\n%v", p.name, err, r)
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	require.Positive(t, denied.Load())
	t.Logf("%d names, %d of them denied", len(probes), denied.Load())
}

// negative wants a reply without an answer and the zone's SOA record, whose TTL
// is its minimum.
func negative(r *dns.Msg, rcode int, origin string) error {
	if r.Rcode != rcode || len(r.Answer) > 0 || !r.Authoritative {
		return fmt.Errorf("want %s without an answer", dns.RcodeToString[rcode])
	}
	if len(r.Ns) == 1 {
		if soa, ok := r.Ns[0].(*dns.SOA); ok && soa.Hdr.Name == origin && soa.Hdr.Ttl == TTL && soa.Minttl == TTL {
			return nil
		}
	}
	return fmt.Errorf("want %s's SOA record with TTL and minimum %d", origin, TTL)
}

// TestBeforeTheFirstTable: an agent that never had a table says that it can't
// answer, not that there is no such name, and is not ready; once it is ready,
// it answers.
func TestBeforeTheFirstTable(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	m := NewModel()
	a := newAgent(t, "")
	const own = "west.user.shop.global."
	rcode := func(network, name string, qtype uint16) (int, error) {
		r, err := ask(network, a.DNS, new(dns.Msg).SetQuestion(name, qtype))
		if err != nil {
			return 0, err
		}
		return r.Rcode, nil
	}
	require.Eventually(t, func() bool {
		_, err := rcode("tcp", own, dns.TypeA)
		return err == nil
	}, patience, 10*time.Millisecond, "the agent listens")
	for _, network := range []string{"udp", "tcp"} {
		for name, qtype := range map[string]uint16{
			own: dns.TypeA, "user.shop.global.": dns.TypeA, "nobody.nowhere.global.": dns.TypeAAAA, "global.": dns.TypeSOA,
			"shop.global.": dns.TypeMX, "_clusters.global.": dns.TypeTXT, "www.shop.example.": dns.TypeANY,
		} {
			got, err := rcode(network, name, qtype)
			require.NoError(t, err)
			require.Equal(t, dns.RcodeServerFailure, got, name)
		}
	}
	require.False(t, a.AgentReady())

	m.Watch(t, a.set.Authority, a.Gossip)
	require.Eventually(t, func() bool {
		ready := a.AgentReady()
		got, err := rcode("udp", own, dns.TypeA)
		require.NoError(t, err)
		require.True(t, got == dns.RcodeSuccess || got == dns.RcodeServerFailure && !ready, "%s while ready is %t", dns.RcodeToString[got], ready)
		return ready
	}, 3*patience, time.Millisecond, "the agent is ready")
	a.Answers(own, "A", "10.4.4.114")
}
