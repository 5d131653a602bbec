package conform

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// bufsize is that of the Corefiles that we ship.
const bufsize = 1232

// large are questions whose whole answers need more than 512 octets, two of
// them more than bufsize.
var large = []struct {
	dns.Question
	records int // of the whole answer
}{
	{dns.Question{Name: "WIDE.shop.GLOBAL.", Qtype: dns.TypeA, Qclass: dns.ClassINET}, Many},
	{dns.Question{Name: "everyWHERE.fleet.global.", Qtype: dns.TypeSRV, Qclass: dns.ClassINET}, Edges},
	{dns.Question{Name: "_CLUSTERS.global.", Qtype: dns.TypeTXT, Qclass: dns.ClassINET}, len(NewModel().Clusters)},
}

// TestSizes asks with every size that a client can offer.
func TestSizes(t *testing.T) {
	a := serve(t, NewModel(), "")
	t.Run("every size", func(t *testing.T) {
		testSizes(t, a, false, func(int) bool { return true })
	})
	t.Run("no EDNS", func(t *testing.T) {
		for _, q := range large {
			require.NoError(t, sized(a, q.Question, q.records, -1, false))
		}
	})
	t.Run("then whole over TCP", func(t *testing.T) {
		for _, q := range large {
			m := &dns.Msg{Question: []dns.Question{q.Question}}
			short, err := ask("udp", a.DNS, m)
			require.NoError(t, err)
			require.True(t, short.Truncated)
			require.Less(t, len(short.Answer), q.records)
			whole, err := ask("tcp", a.DNS, m)
			require.NoError(t, err)
			require.False(t, whole.Truncated)
			require.Len(t, whole.Answer, q.records)
			for _, rr := range whole.Answer {
				require.Equal(t, q.Name, rr.Header().Name)
			}
		}
	})
}

// TestSizesSigned is TestSizes with CoreDNS's dnssec plugin, whose signatures
// take more than some of the records.
func TestSizesSigned(t *testing.T) {
	base := filepath.Join(t.TempDir(), "Kglobal.+013+00001")
	writeKey(t, base, "global.")
	a := serve(t, NewModel(), fmt.Sprintf("    dnssec global {\n        key file %s\n    }", base))
	whole, err := ask("tcp", a.DNS, (&dns.Msg{Question: []dns.Question{large[0].Question}}).SetEdns0(4096, true))
	require.NoError(t, err)
	require.Len(t, whole.Answer, Many+1)
	require.Equal(t, dns.TypeRRSIG, whole.Answer[Many].Header().Rrtype)
	testSizes(t, a, true, func(size int) bool { return size <= bufsize+100 || size%211 == 0 })
}

// testSizes asks one of the large questions with each size that is wanted, and
// all of them where it matters most.
func testSizes(t *testing.T, a agent, do bool, wanted func(size int) bool) {
	var next atomic.Int64
	var g errgroup.Group
	for range inFlight {
		g.Go(func() error {
			for size := int(next.Add(1)) - 1; size < 1<<16; size = int(next.Add(1)) - 1 {
				for i, q := range large {
					if !wanted(size) || size > bufsize+100 && size%len(large) != i {
						continue
					}
					if err := sized(a, q.Question, q.records, size, do); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
}

// sized asks over UDP with a size, without EDNS if it is below 0.
func sized(a agent, q dns.Question, records, size int, do bool) error {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Id: ID}, Question: []dns.Question{q}}
	limit := dns.MinMsgSize
	if size >= 0 {
		m.SetEdns0(uint16(size), do)
		limit = min(max(size, dns.MinMsgSize), bufsize)
	}
	packet, err := m.Pack()
	if err != nil {
		return err
	}
	octets, err := Exchange("udp", a.DNS, packet)
	if err != nil {
		return fmt.Errorf("%s, size %d: %w", q.Name, size, err)
	}
	r := new(dns.Msg)
	if err := r.Unpack(octets); err != nil {
		return fmt.Errorf("%s, size %d: %w", q.Name, size, err)
	}
	switch opt := r.IsEdns0(); {
	case len(octets) > limit:
		return fmt.Errorf("%s, size %d: %d octets", q.Name, size, len(octets))
	case !r.Truncated && len(r.Answer) < records:
		return fmt.Errorf("%s, size %d: %d records, not truncated", q.Name, size, len(r.Answer))
	case r.Question[0] != q:
		return fmt.Errorf("%s, size %d: question is %v", q.Name, size, r.Question[0])
	case (opt != nil) != (size >= 0), do && !opt.Do():
		return fmt.Errorf("%s, size %d: OPT is %v", q.Name, size, opt)
	}
	for _, rr := range r.Answer {
		if rr.Header().Name != q.Name {
			return fmt.Errorf("%s, size %d: owner is %s", q.Name, size, rr.Header().Name)
		}
	}
	return nil
}

// writeKey makes a zone's key in the form of BIND's dnssec-keygen.
func writeKey(t *testing.T, base, zone string) {
	key := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: TTL},
		Flags: dns.ZONE | dns.SEP, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(base+".key", []byte(key.String()+"\n"), 0o600))
	require.NoError(t, os.WriteFile(base+".private", []byte(key.PrivateKeyString(private)), 0o600))
}

// TestLetterCase: question and owners come back as they were sent.
func TestLetterCase(t *testing.T) {
	a := serve(t, NewModel(), "")
	for _, network := range []string{"udp", "tcp"} {
		for _, q := range []dns.Question{
			{Name: "UsEr.ShOp.gLoBaL.", Qtype: dns.TypeA},
			{Name: "USER.shop.GLOBAL.", Qtype: dns.TypeAAAA},
			{Name: "_HtTp._TcP.pAy.ShOp.GlObAl.", Qtype: dns.TypeSRV},
			{Name: "CENTRAL.Pay.shop.global.", Qtype: dns.TypeA},
			{Name: "USERS.GLOBAL.", Qtype: dns.TypeA},
			{Name: "wWw.ShOp.ExAmPlE.", Qtype: dns.TypeA},
			{Name: "_WHY.user.shop.GLOBAL.", Qtype: dns.TypeTXT},
			{Name: "_Clusters.Global.", Qtype: dns.TypeTXT},
			{Name: "GLOBAL.", Qtype: dns.TypeSOA},
			{Name: "Shop.Example.", Qtype: dns.TypeNS},
			{Name: "NS.DNS.GLOBAL.", Qtype: dns.TypeA},
			{Name: "DNS-Version.GLOBAL.", Qtype: dns.TypeTXT},
			{Name: "USER.shop.GLOBAL.", Qtype: dns.TypeANY},
			{Name: "ORDERS-0.west.ORDERS.shop.GLOBAL.", Qtype: dns.TypeA},
			{Name: "NoBody.shop.GLOBAL.", Qtype: dns.TypeA},
			{Name: "SHOP.GLOBAL.", Qtype: dns.TypeA},
			{Name: "EXAMPLE.org.", Qtype: dns.TypeA},
		} {
			q.Qclass = dns.ClassINET
			r, err := ask(network, a.DNS, &dns.Msg{Question: []dns.Question{q}})
			require.NoError(t, err)
			require.Equal(t, []dns.Question{q}, r.Question)
			for _, rr := range r.Answer {
				require.Equal(t, q.Name, rr.Header().Name)
			}
			there := !strings.HasPrefix(q.Name, "NoBody") && !strings.HasPrefix(q.Name, "SHOP.") && !strings.HasPrefix(q.Name, "EXAMPLE")
			require.Equal(t, there, len(r.Answer) > 0, q.Name)
		}
	}
}
