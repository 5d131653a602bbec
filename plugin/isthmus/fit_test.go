package isthmus

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Additional addresses that don't fit are left out, by whole sets and the last
// ones first, and that is no truncation: the answer is complete.
func TestFitAdditional(t *testing.T) {
	table := discovery.NewTable()
	for i := range 12 {
		name := fmt.Sprintf("cluster-%02d", i)
		apply(t, table, cluster(name, eastLocality, gateway(443, fmt.Sprintf("192.0.2.%d", i+1), fmt.Sprintf("192.0.2.%d", i+101))), 1,
			service("shop", "orders", 1, 1))
	}
	table.SetLoaded()
	l := newLink(table)
	p := newPlugin(l)
	for _, tt := range []struct {
		name      string
		size      uint16 // 0: no EDNS
		tcp, late bool
		truncated bool
		extra     int // at least
	}{
		{name: "room for all", size: 4096, extra: 24},
		{name: "room for some", size: 1000, extra: 2},
		{name: "room for some, and stale", size: 1000, late: true, extra: 2},
		{name: "room for the answer only", size: 700},
		{name: "too small for the answer", size: 512, truncated: true},
		{name: "without EDNS", truncated: true},
		{name: "TCP", tcp: true, extra: 24},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l.stale.Store(tt.late)
			req := question("orders.shop.global.", dns.TypeSRV)
			if tt.size > 0 {
				req.SetEdns0(tt.size, false)
			}
			w := dnstest.NewRecorder(&test.ResponseWriter{TCP: tt.tcp})
			_, err := p.ServeDNS(context.Background(), scrub(req, w), req)
			require.NoError(t, err)
			require.Equal(t, tt.truncated, w.Msg.Truncated)
			if tt.truncated {
				return
			}
			require.Len(t, w.Msg.Answer, 12)
			sets := map[string]int{}
			for _, rr := range w.Msg.Extra {
				if rr.Header().Rrtype == dns.TypeA {
					sets[rr.Header().Name]++
				}
			}
			for name, n := range sets {
				require.Equal(t, 2, n, "%s is whole", name)
			}
			require.GreaterOrEqual(t, 2*len(sets), tt.extra)
			if tt.size > 0 {
				require.NotNil(t, w.Msg.IsEdns0())
				require.LessOrEqual(t, w.Msg.Len(), int(tt.size))
			}
		})
	}
}

// TestFitAdditionalAtAnySize: TC says that a part of the answer is missing, and
// nothing else, whatever the client's buffer and the options in its OPT record,
// some of which come back in the reply's.
func TestFitAdditionalAtAnySize(t *testing.T) {
	table := discovery.NewTable()
	for i := range 8 {
		apply(t, table, cluster(fmt.Sprintf("cluster-%02d", i), eastLocality, gateway(443, fmt.Sprintf("192.0.2.%d", i+1))), 1,
			service("shop", "orders", 1, 1))
	}
	table.SetLoaded()
	p := newPlugin(newLink(table))
	for name, options := range map[string][]dns.EDNS0{
		"none":   nil,
		"NSID":   {&dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: strings.Repeat("00", 40)}},
		"cookie": {&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"}},
	} {
		t.Run(name, func(t *testing.T) {
			left := 0
			for size := uint16(dns.MinMsgSize); size < 700; size++ {
				req := question("orders.shop.global.", dns.TypeSRV)
				req.SetEdns0(size, false)
				req.IsEdns0().Option = options
				w := dnstest.NewRecorder(&test.ResponseWriter{})
				_, err := p.ServeDNS(context.Background(), scrub(req, w), req)
				require.NoError(t, err)
				require.LessOrEqual(t, w.Msg.Len(), int(size))
				require.Len(t, w.Msg.Answer, 8)
				require.False(t, w.Msg.Truncated, "size %d", size)
				if len(w.Msg.Extra) < 9 {
					left++
				}
			}
			require.Positive(t, left, "no size at which something is left out")
		})
	}
}
