package isthmus

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/coredns/coredns/plugin/acl"
	_ "github.com/coredns/coredns/plugin/any"
	_ "github.com/coredns/coredns/plugin/chaos"
	_ "github.com/coredns/coredns/plugin/debug"
	_ "github.com/coredns/coredns/plugin/dns64"
	_ "github.com/coredns/coredns/plugin/dnstap"
	_ "github.com/coredns/coredns/plugin/file"
	_ "github.com/coredns/coredns/plugin/header"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/local"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/metadata"
	_ "github.com/coredns/coredns/plugin/minimal"
	_ "github.com/coredns/coredns/plugin/multisocket"
	_ "github.com/coredns/coredns/plugin/nsid"
	_ "github.com/coredns/coredns/plugin/template"
	_ "github.com/coredns/coredns/plugin/trace"
	_ "github.com/coredns/coredns/plugin/transfer"
	_ "github.com/coredns/coredns/plugin/tsig"
	_ "github.com/coredns/coredns/plugin/whoami"
	tap "github.com/dnstap/golang-dnstap"
	framestream "github.com/farsightsec/golang-framestream"
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/test/freeport"
)

// asks is what a combination is asked.
type asks struct {
	name, qtype string
	// from is the client's address, 127.0.0.1 if empty; to is the server's.
	from, to string
	tcp      bool
	edit     func(*dns.Msg)
	want     string               // as said has it; alternatives are separated by " | "
	check    func(*dns.Msg) error // of what said leaves out
}

// said is a reply in one line: its rcode, or the data of its answers, sorted,
// or NODATA.
func said(m *dns.Msg) string {
	if m.Rcode != dns.RcodeSuccess {
		return dns.RcodeToString[m.Rcode]
	}
	var data []string
	for _, rr := range m.Answer {
		data = append(data, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	if len(data) == 0 {
		return "NODATA"
	}
	slices.Sort(data)
	return strings.Join(data, " ")
}

func (a asks) message() *dns.Msg {
	m := question(a.name, dns.StringToType[a.qtype])
	if a.edit != nil {
		a.edit(m)
	}
	return m
}

// ask asks a server at a port.
func (a asks) ask(t *testing.T, port string) *dns.Msg {
	t.Helper()
	from, to := net.ParseIP("127.0.0.1"), "127.0.0.1"
	if a.from != "" {
		from = net.ParseIP(a.from)
	}
	if a.to != "" {
		to = a.to
	}
	c := &dns.Client{Timeout: 5 * time.Second, Dialer: &net.Dialer{LocalAddr: &net.UDPAddr{IP: from}}}
	if a.tcp {
		c.Net, c.Dialer.LocalAddr = "tcp", &net.TCPAddr{IP: from}
	}
	m, _, err := c.Exchange(a.message(), net.JoinHostPort(to, port))
	require.NoError(t, err)
	return m
}

func (a asks) String() string { return fmt.Sprintf("%s %s %s", a.name, a.qtype, a.from) }

const (
	own     = "user-service.production.global."    // in the client's own cluster
	remote  = "payment-service.production.global." // in two others
	nowhere = "nobody.production.global."

	ownIP, centralIP, eastIP = "10.1.0.1", "127.2.0.10", "127.3.0.10"
)

// ours is a stanza of ours with more properties.
func ours(properties ...string) string {
	return "isthmus global {\n watcher a\n insecure\n " + strings.Join(properties, "\n") + "\n }\n"
}

func edns(m *dns.Msg)  { m.SetEdns0(1232, false) }
func chaos(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }

// What users put around our stanza works. PORT and DIR are filled in.
func TestCombinations(t *testing.T) {
	plain := []asks{
		{name: own, qtype: "A", want: ownIP},
		{name: own, qtype: "A", tcp: true, want: ownIP},
		{name: remote, qtype: "A", want: centralIP + " | " + eastIP},
		{name: own, qtype: "TXT", want: "NODATA"},
		{name: nowhere, qtype: "A", want: "NXDOMAIN"},
		{name: "_http._tcp." + remote, qtype: "SRV", want: "3 2 15443 east." + remote + " 3 3 15443 central." + remote},
	}
	for _, tt := range []struct {
		name, text string
		asks       []asks
	}{
		{"alone", "global:PORT {\n" + ours() + "}", plain},
		{
			"server blocks", "global:PORT {\n" + ours() + "}\nshop.example:PORT {\nisthmus {\n watcher a\n insecure\n ttl 9\n }\n}\nother.example:PORT {\n whoami\n}",
			append(slices.Clone(plain), asks{name: "www.shop.example.", qtype: "A", want: ownIP, check: ttlIs(9)}, asks{name: "example.", qtype: "A", want: "REFUSED"}, asks{name: "other.example.", qtype: "A", want: "NODATA"}),
		},
		{"root", ".:PORT {\n" + ours() + " template ANY ANY example {\n rcode NOTIMP\n }\n}", append(slices.Clone(plain), asks{name: "a.example.", qtype: "A", want: "NOTIMP"})},
		{
			"bind", "global:PORT {\n bind 127.0.0.2\n" + ours() + "}\nglobal:PORT {\n bind 127.0.0.3\n" + ours("locality us-east1/us-east1-b") + "}",
			[]asks{{name: own, qtype: "A", to: "127.0.0.2", want: ownIP}, {name: remote, qtype: "A", to: "127.0.0.3", want: eastIP}, {name: "global.", qtype: "NS", to: "127.0.0.3", want: "ns.dns.global.", check: glueIs("127.0.0.3")}},
		},
		{
			"view", "global:PORT {\n view central {\n expr client_ip() == '127.0.0.2'\n }\n" + ours("locality us-central1/us-central1-a") + "}\n" +
				"global:PORT {\n view east {\n expr client_ip() == '127.0.0.3'\n }\n" + ours("locality us-east1/us-east1-b") + "}\nglobal:PORT {\n" + ours() + "}",
			[]asks{{name: remote, qtype: "A", from: "127.0.0.2", want: centralIP}, {name: remote, qtype: "A", from: "127.0.0.3", want: eastIP}, {name: own, qtype: "A", want: ownIP}},
		},
		{
			"acl", "global:PORT {\n acl {\n block type A net 127.0.0.2/32\n drop net 127.0.0.4/32\n filter net 127.0.0.3/32\n }\n" + ours() + "}",
			append(slices.Clone(plain), asks{name: own, qtype: "A", from: "127.0.0.2", want: "REFUSED"}, asks{name: own, qtype: "AAAA", from: "127.0.0.2", want: "fd00:1::1"}, asks{name: own, qtype: "A", from: "127.0.0.3", want: "NODATA"}),
		},
		{"cache", "global:PORT {\n cache\n" + ours() + "}", plain},
		{"cache with exceptions", "global:PORT {\n cache 30 global {\n disable success global\n serve_stale\n prefetch 1\n }\n" + ours() + "}", plain},
		{
			"rewrite", "global:PORT corp.example:PORT {\n rewrite stop name suffix .corp.example .production.global answer auto\n" + ours() + "}",
			append(slices.Clone(plain), asks{name: "user-service.corp.example.", qtype: "A", want: ownIP, check: ownerIs("user-service.corp.example.")}, asks{name: "x.corp.example.", qtype: "A", want: "NXDOMAIN"}),
		},
		{
			"rewrite of a name", "global:PORT {\n rewrite name exact old.production.global user-service.production.global\n" + ours() + "}",
			append(slices.Clone(plain), asks{name: "old.production.global.", qtype: "A", want: ownIP, check: ownerIs("old.production.global.")}),
		},
		{"rewrite of ttl", "global:PORT {\n rewrite ttl suffix . 77\n" + ours() + "}", []asks{{name: own, qtype: "A", want: ownIP, check: ttlIs(77)}}},
		{
			"template before", "global:PORT {\n template IN A hello.production.global {\n answer \"{{ .Name }} 5 IN A 192.0.2.7\"\n fallthrough\n }\n" + ours() + "}",
			append(slices.Clone(plain), asks{name: "hello.production.global.", qtype: "A", want: "192.0.2.7"}),
		},
		{
			"hosts before", "global:PORT {\n hosts {\n 192.0.2.8 " + own + "\n fallthrough\n }\n" + ours() + "}",
			append(slices.Clone(plain[2:]), asks{name: own, qtype: "A", want: "192.0.2.8"}),
		},
		{
			"file after", "global:PORT {\n" + ours("fallthrough") + " file DIR/zone global\n}",
			append(slices.Clone(plain[:4]), asks{name: nowhere, qtype: "A", want: "192.0.2.9"}, asks{name: "x.global.", qtype: "A", want: "NXDOMAIN"}),
		},
		{
			"transfer", "global:PORT {\n transfer global {\n to 192.0.2.1\n }\n" + ours() + "}",
			append(slices.Clone(plain), asks{name: "global.", qtype: "AXFR", want: "REFUSED"}, asks{name: "global.", qtype: "AXFR", tcp: true, want: "REFUSED"}, asks{name: "global.", qtype: "IXFR", want: "REFUSED"}),
		},
		{"AXFR without transfer", "global:PORT {\n" + ours() + "}", []asks{{name: "global.", qtype: "AXFR", tcp: true, want: "REFUSED"}}},
		{"trace to nobody", "global:PORT {\n trace zipkin 127.0.0.1:1 {\n every 1\n client_server\n }\n" + ours() + "}", plain},
		{"multisocket", "global:PORT {\n multisocket 2\n" + ours() + "}", plain},
		{"loop", ".:PORT {\n" + ours() + " loop\n forward . 192.0.2.1\n}", plain},
		{
			"autopath", ".:PORT {\n autopath DIR/resolv.conf\n" + ours() + " template IN ANY cluster.local {\n rcode NXDOMAIN\n }\n}",
			append(slices.Clone(plain), asks{name: own + "production.svc.cluster.local.", qtype: "A", want: ownIP + " " + own}, asks{name: "user-service.production.production.svc.cluster.local.", qtype: "A", want: ownIP + " " + own}),
		},
		{"nsid", "global:PORT {\n nsid it\n" + ours() + "}", append(slices.Clone(plain), asks{name: own, qtype: "A", edit: func(m *dns.Msg) {
			edns(m)
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID}}
		}, want: ownIP, check: optionIs("6974")})},
		{
			"chaos", "global:PORT bind:PORT server:PORT {\n chaos isthmus-test\n" + ours() + "}",
			append(slices.Clone(plain), asks{name: "version.bind.", qtype: "TXT", edit: chaos, want: `"isthmus-test"`}, asks{name: own, qtype: "A", edit: chaos, want: "REFUSED"}),
		},
		{"class CH without chaos", "global:PORT {\n" + ours() + "}", []asks{{name: own, qtype: "A", edit: chaos, want: "REFUSED"}}},
		{"any", "global:PORT {\n any\n" + ours() + "}", append(slices.Clone(plain), asks{name: own, qtype: "ANY", want: `"ANY obsoleted" "See RFC 8482"`})},
		{
			"minimal", "global:PORT {\n minimal\n" + ours() + "}",
			append(slices.Clone(plain), asks{name: own, qtype: "SRV", want: "0 2 80 west." + own + " 3 3 15443 central." + own + " 3 3 15443 east." + own, check: extraIs(0)}, asks{name: own, qtype: "ANY", want: `"RFC8482" ""`}),
		},
		{"header", "global:PORT {\n header {\n response set ra\n response clear aa\n }\n" + ours() + "}", append(slices.Clone(plain), asks{name: own, qtype: "A", want: ownIP, check: func(m *dns.Msg) error {
			if m.Authoritative || !m.RecursionAvailable {
				return fmt.Errorf("flags of %v", m.MsgHdr)
			}
			return nil
		}})},
		{"loadbalance", "global:PORT {\n loadbalance\n" + ours() + "}", plain},
		{"dns64", "global:PORT {\n dns64 {\n allow_ipv4\n }\n" + ours() + "}", append(slices.Clone(plain), asks{name: own, qtype: "AAAA", want: "fd00:1::1"}, asks{name: "apollo-configservice.apollo.global.", qtype: "AAAA", want: "64:ff9b::7f03:a"})},
		{"local, debug and errors", "global:PORT {\n local\n debug\n errors\n" + ours() + "}", plain},
		{"everything", ".:PORT {\n metadata\n nsid\n bufsize\n errors\n log\n local\n any\n chaos\n loadbalance\n rewrite name exact a.test b.test\n acl {\n allow\n }\n cache\n header {\n response set ra\n }\n minimal\n" + ours("fallthrough") + " forward . 192.0.2.1\n}", plain[:4]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			replaceOpen(t)
			logged(t)
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "zone"), []byte(zoneFile), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("search production.svc.cluster.local svc.cluster.local global\n"), 0o600))
			port := freeport.Port(t)
			start(t, strings.NewReplacer("PORT", port, "DIR", dir).Replace(tt.text))
			for _, a := range tt.asks {
				got := a.ask(t, port)
				require.Contains(t, strings.Split(a.want, " | "), said(got), "%v", a)
				if a.check != nil {
					require.NoError(t, a.check(got), "%v", a)
				}
			}
		})
	}
}

const zoneFile = `global. 60 IN SOA ns.dns.global. hostmaster.global. 1 7200 1800 86400 5
global. 60 IN NS ns.dns.global.
nobody.production.global. 60 IN A 192.0.2.9
`

func ttlIs(ttl uint32) func(*dns.Msg) error {
	return func(m *dns.Msg) error {
		if got := m.Answer[0].Header().Ttl; got != ttl {
			return fmt.Errorf("TTL %d, want %d", got, ttl)
		}
		return nil
	}
}

func ownerIs(name string) func(*dns.Msg) error {
	return func(m *dns.Msg) error {
		if got := m.Answer[0].Header().Name; got != name || m.Question[0].Name != name {
			return fmt.Errorf("owner %s of question %s, want %s", got, m.Question[0].Name, name)
		}
		return nil
	}
}

func glueIs(ip string) func(*dns.Msg) error {
	return func(m *dns.Msg) error {
		if len(m.Extra) != 1 || m.Extra[0].(*dns.A).A.String() != ip {
			return fmt.Errorf("glue %v, want %s", m.Extra, ip)
		}
		return nil
	}
}

func extraIs(n int) func(*dns.Msg) error {
	return func(m *dns.Msg) error {
		if len(m.Extra) != n {
			return fmt.Errorf("additional section: %v", m.Extra)
		}
		return nil
	}
}

func optionIs(nsid string) func(*dns.Msg) error {
	return func(m *dns.Msg) error {
		for _, o := range m.IsEdns0().Option {
			if id, ok := o.(*dns.EDNS0_NSID); ok && id.Nsid == nsid {
				return nil
			}
		}
		return fmt.Errorf("no NSID %s in %v", nsid, m.IsEdns0())
	}
}

// The cache plugin in our server block keeps nothing of ours: neither weights
// nor what didn't exist a moment ago.
func TestCacheKeepsNothing(t *testing.T) {
	for _, text := range []string{"cache 3600", "cache {\n serve_stale\n }", "cache {\n success 100 3600 3600\n denial 100 3600 3600\n keepttl\n }"} {
		t.Run(text, func(t *testing.T) {
			o := replaceOpen(t)
			l := newLink(demoTable(t))
			o.link = func(linkConfig) *fakeLink { return l }
			port := freeport.Port(t)
			start(t, ".:"+port+" {\n bufsize\n "+text+"\n"+ours()+" forward . 192.0.2.1\n}")
			seen := map[string]int{}
			for range 200 {
				seen[said(asks{name: remote, qtype: "A"}.ask(t, port))]++
			}
			// Shares of 3 to 2; fewer than 30 of 200 are less likely than 1 in 10⁹.
			require.Len(t, seen, 2)
			require.Greater(t, seen[centralIP], 30)
			require.Greater(t, seen[eastIP], 30)

			late := asks{name: "late.production.global.", qtype: "A"}
			require.Equal(t, "NXDOMAIN", said(late.ask(t, port)))
			apply(t, l.table, cluster("new", eastLocality, gateway(1, "127.9.0.10")), 1, service("production", "late", 1, 1))
			require.Equal(t, "127.9.0.10", said(late.ask(t, port)))
		})
	}
}

// Metadata shows in the log what queries came to.
func TestMetadataInALog(t *testing.T) {
	o := replaceOpen(t)
	l := newLink(demoTable(t))
	o.link = func(linkConfig) *fakeLink { return l }
	port := freeport.Port(t)
	j := logged(t)
	const format = `{name} {type} [{/isthmus/zone} {/isthmus/service} {/isthmus/cluster} {/isthmus/tier} {/isthmus/result} {/isthmus/stale}]`
	start(t, ".:"+port+" {\n bufsize\n metadata\n log . \""+format+"\"\n rewrite name exact pay.corp.example "+remote+"\n"+ours("fallthrough x.global")+" whoami\n}")
	for _, tt := range []struct {
		asks
		stale bool
		want  []string
	}{
		{asks{name: own, qtype: "A"}, false, []string{"[global. user-service.production west own answer false]"}},
		{asks{name: remote, qtype: "A"}, false, []string{"[global. payment-service.production central other answer false]", "[global. payment-service.production east other answer false]"}},
		{asks{name: "pay.corp.example.", qtype: "A"}, false, []string{"[global. payment-service.production central other answer false]", "[global. payment-service.production east other answer false]"}},
		{asks{name: "east." + remote, qtype: "SRV"}, false, []string{"[global. payment-service.production east other answer false]"}},
		{asks{name: remote, qtype: "SRV"}, false, []string{"[global. payment-service.production   answer false]"}},
		{asks{name: "users.global.", qtype: "A"}, true, []string{"[global. user-service.production west own answer true]"}},
		{asks{name: "west.down.production.global.", qtype: "A"}, false, []string{"[global. down.production west  nodata false]"}},
		{asks{name: nowhere, qtype: "A"}, false, []string{"[global.    nxdomain false]"}},
		{asks{name: "global.", qtype: "SOA"}, false, []string{"[global.    answer false]"}},
		{asks{name: "y.x.global.", qtype: "A"}, false, []string{"[global.    fallthrough false]"}},
		{asks{name: "elsewhere.example.", qtype: "A"}, false, []string{"[     ]"}},
	} {
		t.Run(tt.asks.String(), func(t *testing.T) {
			l.stale.Store(tt.stale)
			before := len(j.String())
			tt.ask(t, port)
			var got string
			require.Eventually(t, func() bool {
				_, line, ok := strings.Cut(j.String()[before:], "[INFO] ")
				_, got, _ = strings.Cut(strings.TrimSpace(line), tt.qtype+" ")
				return ok && strings.HasSuffix(got, "]")
			}, 5*time.Second, time.Millisecond)
			require.Contains(t, tt.want, got)
		})
	}
}

// Signed answers are accepted by who checks them: all kinds of answers, names
// in any case, also while answers are stale.
func TestDNSSEC(t *testing.T) {
	o := replaceOpen(t)
	l := newLink(demoTable(t))
	o.link = func(linkConfig) *fakeLink { return l }
	dir, port := t.TempDir(), freeport.Port(t)
	base := signingKey(t, dir, "global.")
	start(t, "global:"+port+" {\n bind 127.0.0.1\n bufsize 1232\n dnssec {\n key file "+base+"\n }\n"+ours()+"}")
	text, err := os.ReadFile(base + ".key")
	require.NoError(t, err)
	rr, err := dns.NewRR(string(text))
	require.NoError(t, err)
	key := rr.(*dns.DNSKEY)
	secure := func(m *dns.Msg) { m.SetEdns0(1232, true) }
	for _, stale := range []bool{false, true} {
		l.stale.Store(stale)
		for _, a := range []asks{
			{name: own, qtype: "A"},
			{name: "User-Service.PRODUCTION.global.", qtype: "A"},
			{name: own, qtype: "AAAA"},
			{name: own, qtype: "SRV"},
			{name: "_http._tcp." + remote, qtype: "SRV", tcp: true},
			{name: "_why." + remote, qtype: "TXT", tcp: true},
			{name: "global.", qtype: "SOA"},
			{name: "global.", qtype: "NS"},
			{name: "global.", qtype: "DNSKEY"},
			{name: own, qtype: "ANY"},
			{name: own, qtype: "MX"},
			{name: "production.global.", qtype: "A"},
			{name: nowhere, qtype: "A"},
		} {
			t.Run(fmt.Sprint(a, " ", stale), func(t *testing.T) {
				a.edit = secure
				m := a.ask(t, port)
				require.Equal(t, dns.RcodeSuccess, m.Rcode) // NXDOMAIN is a NODATA with an NSEC record made for it
				require.NoError(t, verified(m.Answer, key))
				require.NoError(t, verified(m.Ns, key))
				if len(m.Answer) == 0 {
					require.Len(t, m.Ns, 4, "SOA, NSEC and their signatures")
				}
			})
		}
	}
	l.stale.Store(false)
	t.Run("delv", func(t *testing.T) {
		if _, err := exec.LookPath("delv"); err != nil {
			t.Skip("needs delv")
		}
		anchor := filepath.Join(dir, "anchor")
		require.NoError(t, os.WriteFile(anchor, []byte(fmt.Sprintf("trust-anchors { global. static-key %d %d %d \"%s\"; };\n", key.Flags, key.Protocol, key.Algorithm, key.PublicKey)), 0o600))
		for _, tt := range []struct{ name, qtype, want string }{
			{own, "A", "; fully validated\n" + own},
			{"_http._tcp." + remote, "SRV", "; fully validated\n_http"},
			{own, "MX", "; negative response, fully validated"},
			{nowhere, "A", "; negative response, fully validated"},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			out, err := exec.CommandContext(ctx, "delv", "@127.0.0.1", "-p", port, "-a", anchor, "+root=global", tt.name, tt.qtype).CombinedOutput()
			require.NoError(t, err, string(out))
			require.Contains(t, string(out), tt.want)
		}
	})
}

// verified wants each RRset of a section to have a signature that is right.
func verified(section []dns.RR, key *dns.DNSKEY) error {
	sets := map[string][]dns.RR{}
	signatures := map[string]*dns.RRSIG{}
	id := func(name string, rrtype uint16) string { return strings.ToLower(name) + dns.TypeToString[rrtype] }
	for _, rr := range section {
		if s, ok := rr.(*dns.RRSIG); ok {
			signatures[id(s.Hdr.Name, s.TypeCovered)] = s
			continue
		}
		sets[id(rr.Header().Name, rr.Header().Rrtype)] = append(sets[id(rr.Header().Name, rr.Header().Rrtype)], rr)
	}
	for name, set := range sets {
		s, ok := signatures[name]
		if !ok {
			return fmt.Errorf("no signature of %s", name)
		}
		if err := s.Verify(key, set); err != nil {
			return fmt.Errorf("signature of %s: %w", name, err)
		}
		if !s.ValidityPeriod(time.Now()) {
			return fmt.Errorf("signature of %s is not valid now", name)
		}
	}
	return nil
}

// Dnstap shows both messages of a query, and what it came to.
func TestDnstap(t *testing.T) {
	replaceOpen(t)
	logged(t)
	socket := filepath.Join(t.TempDir(), "tap")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	defer listener.Close()
	frames := make(chan *tap.Dnstap, 16)
	go func() {
		defer close(frames)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		decoder, err := framestream.NewDecoder(conn, &framestream.DecoderOptions{ContentType: []byte("protobuf:dnstap.Dnstap"), Bidirectional: true})
		for err == nil {
			var frame []byte
			if frame, err = decoder.Decode(); err == nil {
				message := &tap.Dnstap{}
				if err = proto.Unmarshal(frame, message); err == nil {
					frames <- message
				}
			}
		}
	}()
	port := freeport.Port(t)
	start(t, "global:"+port+" {\n metadata\n dnstap "+socket+" full {\n extra \"{/isthmus/cluster}\"\n }\n"+ours()+"}")
	require.Equal(t, ownIP, said(asks{name: own, qtype: "A"}.ask(t, port)))
	for _, want := range []tap.Message_Type{tap.Message_CLIENT_QUERY, tap.Message_CLIENT_RESPONSE} {
		select {
		case got := <-frames:
			require.Equal(t, want, got.GetMessage().GetType())
			wire := got.GetMessage().GetQueryMessage()
			if want == tap.Message_CLIENT_RESPONSE {
				wire = got.GetMessage().GetResponseMessage()
				require.Equal(t, "west", string(got.GetExtra()))
			}
			m := new(dns.Msg)
			require.NoError(t, m.Unpack(wire))
			require.Equal(t, own, m.Question[0].Name)
		case <-time.After(20 * time.Second):
			require.FailNow(t, "no message", "%v", want)
		}
	}
}

// TSIG is asked for where the Corefile wants it, and answers are signed.
func TestTSIG(t *testing.T) {
	replaceOpen(t)
	logged(t)
	port := freeport.Port(t)
	secret := base64.StdEncoding.EncodeToString([]byte("a secret of tests"))
	start(t, "global:"+port+" {\n tsig {\n secret key.example. "+secret+"\n require A\n }\n"+ours()+"}")
	require.Equal(t, "REFUSED", said(asks{name: own, qtype: "A"}.ask(t, port)))
	require.Equal(t, "fd00:1::1", said(asks{name: own, qtype: "AAAA"}.ask(t, port)))
	for _, name := range []string{own, nowhere, own} {
		m := question(name, dns.TypeA)
		m.SetTsig("key.example.", dns.HmacSHA256, 300, time.Now().Unix())
		c := &dns.Client{Timeout: 5 * time.Second, TsigSecret: map[string]string{"key.example.": secret}}
		got, _, err := c.Exchange(m, net.JoinHostPort("127.0.0.1", port)) // checks the answer's signature
		require.NoError(t, err)
		require.NotNil(t, got.IsTsig())
	}
}
