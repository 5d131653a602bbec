package isthmus

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/bind"        // in the Corefiles of tests and README
	_ "github.com/coredns/coredns/plugin/cache"       // README
	_ "github.com/coredns/coredns/plugin/errors"      // README
	_ "github.com/coredns/coredns/plugin/forward"     // README
	_ "github.com/coredns/coredns/plugin/health"      // README
	_ "github.com/coredns/coredns/plugin/loadbalance" // README
	_ "github.com/coredns/coredns/plugin/metrics"     // README
	_ "github.com/coredns/coredns/plugin/ready"       // README
	_ "github.com/coredns/coredns/plugin/reload"      // README
	_ "github.com/coredns/coredns/plugin/transfer"    // README
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-dns/isthmus/test/freeport"
)

func init() {
	// What one line of plugin.cfg does; where it stands in our own program.
	after := slices.Index(dnsserver.Directives, "hosts") + 1
	dnsserver.Directives = slices.Insert(dnsserver.Directives, after, pluginName)
	dnsserver.Quiet, caddy.Quiet = true, true
}

func corefile(body string) caddy.Input {
	return caddy.CaddyfileInput{Filepath: "Corefile", Contents: []byte(body), ServerTypeName: "dns"}
}

// start runs CoreDNS in this process until the test ends. Its stanzas use
// links of their own, which are closed when they stop.
func start(t *testing.T, body string) (instance *atomic.Pointer[caddy.Instance]) {
	t.Helper()
	before := links
	links = newRegistry(time.Second)
	i, err := caddy.Start(corefile(body))
	require.NoError(t, err)
	instance = &atomic.Pointer[caddy.Instance]{}
	instance.Store(i)
	t.Cleanup(func() {
		require.NoError(t, instance.Load().Stop())
		require.Empty(t, instance.Load().ShutdownCallbacks())
		links = before
	})
	return instance
}

func ports(i *caddy.Instance) (udp, tcp string) {
	s := i.Servers()[0]
	return s.LocalAddr().String(), s.Addr().String()
}

func exchange(t *testing.T, network, addr string, m *dns.Msg) *dns.Msg {
	t.Helper()
	c := &dns.Client{Net: network, Timeout: 5 * time.Second}
	got, _, err := c.Exchange(m, addr)
	require.NoError(t, err)
	return got
}

func TestServer(t *testing.T) {
	o := replaceOpen(t)
	l := newLink(demoTable(t))
	var forty []string
	for i := range 40 {
		forty = append(forty, fmt.Sprintf("192.0.2.%d", i+1))
	}
	apply(t, l.table, cluster("far", eastLocality, gateway(443, forty...)), 1, service("big", "big", 1, 1))
	o.link = func(linkConfig) *fakeLink { return l }
	i := start(t, "global.:0 {\n bind 127.0.0.1\n isthmus {\n watcher 127.0.0.1:1\n insecure\n }\n}\n")
	udp, tcp := ports(i.Load())

	for _, via := range []struct{ network, addr string }{{"udp", udp}, {"tcp", tcp}} {
		t.Run(via.network, func(t *testing.T) {
			m := exchange(t, via.network, via.addr, question("USER-service.production.global.", dns.TypeA))
			require.Equal(t, "USER-service.production.global.\t5\tIN\tA\t10.1.0.1", m.Answer[0].String())
			require.True(t, m.Authoritative)
			require.Nil(t, m.IsEdns0())
			m = exchange(t, via.network, via.addr, question("x.y.global.", dns.TypeA))
			require.Equal(t, dns.RcodeNameError, m.Rcode)
			require.IsType(t, &dns.SOA{}, m.Ns[0])
			m = exchange(t, via.network, via.addr, question("_http._tcp.apollo-configservice.apollo.global.", dns.TypeSRV))
			require.Equal(t, uint16(30880), m.Answer[0].(*dns.SRV).Port)
			m = exchange(t, via.network, via.addr, question("global.", dns.TypeNS))
			require.Equal(t, "127.0.0.1", m.Extra[0].(*dns.A).A.String())
		})
	}
	t.Run("truncated, then whole", func(t *testing.T) {
		m := exchange(t, "udp", udp, question("big.big.global.", dns.TypeA))
		require.True(t, m.Truncated)
		m = exchange(t, "tcp", tcp, question("big.big.global.", dns.TypeA))
		require.Len(t, m.Answer, 40)
	})
	t.Run("stale", func(t *testing.T) {
		l.stale.Store(true)
		defer l.stale.Store(false)
		req := question("user-service.production.global.", dns.TypeA)
		req.SetEdns0(1232, true)
		opt := exchange(t, "udp", udp, req).IsEdns0()
		require.NotNil(t, opt)
		require.EqualValues(t, 1232, opt.UDPSize())
		require.True(t, opt.Do())
		require.Equal(t, dns.ExtendedErrorCodeStaleAnswer, opt.Option[0].(*dns.EDNS0_EDE).InfoCode)
	})
	t.Run("not loaded", func(t *testing.T) {
		view := l.view.Swap(nil)
		defer l.view.Store(view)
		m := exchange(t, "udp", udp, question("user-service.production.global.", dns.TypeA))
		require.Equal(t, dns.RcodeServerFailure, m.Rcode)
	})
}

// Reloads with changed and unchanged stanzas, and one that fails, under
// queries: none is lost or wrong, and the link stays.
func TestReload(t *testing.T) {
	o := replaceOpen(t)
	port := freeport.Port(t)
	body := func(extra string) string {
		return "global.:" + port + " {\n bind 127.0.0.1\n isthmus {\n watcher 127.0.0.1:1\n insecure\n" + extra + " }\n}\n"
	}
	i := start(t, body(""))
	addr := net.JoinHostPort("127.0.0.1", port)

	var stop atomic.Bool
	var queries atomic.Int64
	var g errgroup.Group
	for range 4 {
		g.Go(func() error {
			c := &dns.Client{Timeout: 5 * time.Second}
			for !stop.Load() {
				m, _, err := c.Exchange(question("user-service.production.global.", dns.TypeA), addr)
				if err != nil {
					return err
				}
				if len(m.Answer) != 1 || !strings.HasSuffix(m.Answer[0].String(), "10.1.0.1") {
					return fmt.Errorf("wrong answer: %v", m)
				}
				queries.Add(1)
			}
			return nil
		})
	}
	for n, extra := range []string{"", " ttl 7\n", "", " ttl 8\n fallthrough\n"} {
		next, err := i.Load().Restart(corefile(body(extra)))
		require.NoError(t, err)
		i.Store(next)
		seen := queries.Load()
		require.Eventually(t, func() bool { return queries.Load() > seen+20 }, 10*time.Second, time.Millisecond, "reload %d", n)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0") // without SO_REUSEPORT, which CoreDNS sets
	require.NoError(t, err)
	defer busy.Close()
	_, taken, err := net.SplitHostPort(busy.Addr().String())
	require.NoError(t, err)
	for _, broken := range []string{
		body(" ttl x\n"),
		// starts its stanza with another link, then finds its port busy
		strings.ReplaceAll(body("")+"example.:"+taken, "127.0.0.1:1", "127.0.0.1:2") + " {\n bind 127.0.0.1\n isthmus {\n watcher 127.0.0.1:3\n insecure\n }\n}\n",
	} {
		_, err := i.Load().Restart(corefile(broken))
		require.Error(t, err)
	}
	seen := queries.Load()
	require.Eventually(t, func() bool { return queries.Load() > seen+20 }, 10*time.Second, time.Millisecond)
	stop.Store(true)
	require.NoError(t, g.Wait())
	require.Eventually(t, func() bool { return o.running.Load() == 1 }, 5*time.Second, time.Millisecond, "links of the failed reload end")
	require.Len(t, links.held(), 1)
}

// A link that can't be opened is a line of the Corefile's.
func TestSetupOpenError(t *testing.T) {
	o := replaceOpen(t)
	o.err = errors.New("key west-agent.key: permission denied")
	err := setup(controller("isthmus {\n watcher a\n insecure\n}", "dns://.:53"))
	require.ErrorContains(t, err, "plugin/isthmus: Testfile:4 - Error during parsing: key west-agent.key: permission denied")
}

// A reload that gives a stanza its first reverse zone leaves it ready, and the
// zone is answered for from the first query.
func TestReloadWithReverseZone(t *testing.T) {
	o := replaceOpen(t)
	l := newLink(ownTable(t, 50_000)) // an index takes a while
	o.link = func(linkConfig) *fakeLink { return l }
	port := freeport.Port(t)
	body := "global.:%[1]s 10.in-addr.arpa.:%[1]s {\n bind 127.0.0.1\n isthmus global. %[2]s {\n watcher 127.0.0.1:1\n insecure\n }\n}\n"
	i := start(t, fmt.Sprintf(body, port, ""))
	for range 10 {
		for _, reverse := range []string{"10.in-addr.arpa.", ""} {
			next, err := i.Load().Restart(corefile(fmt.Sprintf(body, port, reverse)))
			require.NoError(t, err)
			i.Store(next)
			if reverse == "" {
				continue
			}
			for _, s := range links.links {
				require.NotNil(t, s.reverse.index())
			}
			m := exchange(t, "udp", net.JoinHostPort("127.0.0.1", port), question("1.0.0.10.in-addr.arpa.", dns.TypePTR))
			require.Equal(t, dns.RcodeSuccess, m.Rcode)
		}
	}
}
