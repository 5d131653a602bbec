package isthmus

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/freeport"
)

// balancerDNS is a cloud's name server: names of load balancers, on loopback,
// over UDP and TCP.
func balancerDNS(t *testing.T, handle dns.HandlerFunc) lookupFunc {
	t.Helper()
	addr := freeport.Addr(t)
	for _, network := range []string{"udp", "tcp"} {
		up := make(chan struct{})
		s := &dns.Server{Addr: addr, Net: network, Handler: handle, NotifyStartedFunc: func() { close(up) }}
		done := make(chan error, 1)
		go func() { done <- s.ListenAndServe() }()
		<-up
		t.Cleanup(func() {
			require.NoError(t, s.Shutdown())
			require.NoError(t, <-done)
		})
	}
	return lookupOver(func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	})
}

func records(t *testing.T, lines ...string) []dns.RR {
	var rrs []dns.RR
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		require.NoError(t, err)
		rrs = append(rrs, rr)
	}
	return rrs
}

func TestLookup(t *testing.T) {
	var forty []string
	var fortyAddrs []netip.Addr
	for i := range 40 {
		a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})
		forty, fortyAddrs = append(forty, fmt.Sprintf("lb.example. %d A %s", 50+i, a)), append(fortyAddrs, a)
	}
	var thousand []string
	for i := range 1000 {
		thousand = append(thousand, fmt.Sprintf("lb.example. 60 A 192.0.%d.%d", i/256, i%256))
	}
	type answer struct {
		rcode int
		rrs   []string
	}
	for _, tc := range []struct {
		name    string
		v4, v6  answer
		want4   found
		want6   found
		failing bool
	}{
		{
			name:  "one address",
			v4:    answer{rrs: []string{"lb.example. 60 A 192.0.2.1"}},
			want4: found{addrs: addrs("192.0.2.1"), ttl: time.Minute},
			want6: found{ttl: unknownTTL, err: errNoAddress},
		},
		{
			name:  "the smallest TTL of a chain, at its beginning",
			v4:    answer{rrs: []string{"lb.example. 7 CNAME a.example.", "a.example. 300 CNAME b.example.", "b.example. 60 A 192.0.2.1", "b.example. 60 A 192.0.2.2"}},
			v6:    answer{rrs: []string{"lb.example. 70 CNAME a.example.", "a.example. 300 CNAME b.example.", "b.example. 60 AAAA 2001:db8::1", "b.example. 9 AAAA 2001:db8::2"}},
			want4: found{addrs: addrs("192.0.2.1", "192.0.2.2"), ttl: 7 * time.Second},
			want6: found{addrs: addrs("2001:db8::1", "2001:db8::2"), ttl: 9 * time.Second},
		},
		{
			name:  "TTL 0",
			v4:    answer{rrs: []string{"lb.example. 0 A 192.0.2.1"}},
			want4: found{addrs: addrs("192.0.2.1")},
			want6: found{ttl: unknownTTL, err: errNoAddress},
		},
		{
			name:  "a TTL with the sign bit is 0",
			v4:    answer{rrs: []string{"lb.example. 4294967295 A 192.0.2.1"}},
			want4: found{addrs: addrs("192.0.2.1")},
			want6: found{ttl: unknownTTL, err: errNoAddress},
		},
		{
			name:  "too large for UDP",
			v4:    answer{rrs: forty},
			want4: found{addrs: fortyAddrs, ttl: 50 * time.Second},
			want6: found{ttl: unknownTTL, err: errNoAddress},
		},
		{
			name:  "no such name",
			v4:    answer{rcode: dns.RcodeNameError},
			v6:    answer{rcode: dns.RcodeNameError},
			want4: found{ttl: unknownTTL, err: errNoAddress},
			want6: found{ttl: unknownTTL, err: errNoAddress},
		},
		{
			name:    "a thousand addresses",
			v4:      answer{rrs: thousand},
			v6:      answer{rcode: dns.RcodeServerFailure},
			failing: true,
		},
		{
			name:    "failure",
			v4:      answer{rcode: dns.RcodeServerFailure},
			v6:      answer{rcode: dns.RcodeRefused},
			failing: true,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lookup := balancerDNS(t, func(w dns.ResponseWriter, r *dns.Msg) {
				a := tc.v4
				if r.Question[0].Qtype == dns.TypeAAAA {
					a = tc.v6
				}
				m := new(dns.Msg).SetRcode(r, a.rcode)
				m.RecursionAvailable = true
				m.Answer = records(t, a.rrs...)
				if w.RemoteAddr().Network() == "udp" {
					m.Truncate(512)
				}
				_ = w.WriteMsg(m)
			})
			got4, got6 := lookup(t.Context(), "ip4", "lb.example"), lookup(t.Context(), "ip6", "lb.example")
			if tc.failing {
				for _, got := range []found{got4, got6} {
					require.Error(t, got.err)
					require.NotErrorIs(t, got.err, errNoAddress, "it may be there")
				}
				return
			}
			require.ElementsMatch(t, tc.want4.addrs, got4.addrs)
			require.ElementsMatch(t, tc.want6.addrs, got6.addrs)
			got4.addrs, got6.addrs, tc.want4.addrs, tc.want6.addrs = nil, nil, nil, nil
			require.Equal(t, tc.want4, got4)
			require.Equal(t, tc.want6, got6)
		})
	}
}

// Datagrams that answer another question are passed over, and so is their TTL.
func TestLookupIgnoresForgery(t *testing.T) {
	lookup := balancerDNS(t, func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetReply(r)
		m.RecursionAvailable = true
		m.Answer = records(t, "lb.example. 1 A 198.51.100.66")
		m.Id++
		_ = w.WriteMsg(m)
		_, _ = w.Write([]byte{0, 1, 2})
		m.Id--
		m.Answer = records(t, "lb.example. 60 A 192.0.2.1")
		_ = w.WriteMsg(m)
	})
	require.Equal(t, found{addrs: addrs("192.0.2.1"), ttl: time.Minute}, lookup(t.Context(), "ip4", "lb.example"))
}

// A name server that takes questions and says nothing: the lookup ends with
// its context.
func TestLookupEnds(t *testing.T) {
	lookup := balancerDNS(t, func(dns.ResponseWriter, *dns.Msg) {})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	got := lookup(ctx, "ip4", "lb.example")
	require.Error(t, got.err)
	require.NotErrorIs(t, got.err, errNoAddress)
}

// A hostile name server's messages, whole and in pieces.
func FuzzAnswerTTL(f *testing.F) {
	m := new(dns.Msg).SetQuestion("lb.example.", dns.TypeA)
	m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "lb.example.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 1)}}
	wire, err := m.Pack()
	require.NoError(f, err)
	f.Add(wire)
	f.Add(wire[:len(wire)-1])
	f.Fuzz(func(t *testing.T, message []byte) {
		ttl := answerTTL(message)
		if ttl != unknownTTL {
			require.GreaterOrEqual(t, ttl, time.Duration(0))
		}
		got := refresh(ttl, 1)
		require.GreaterOrEqual(t, got, minRefresh)
		require.Less(t, got, maxRefresh+maxRefresh/10)
	})
}
