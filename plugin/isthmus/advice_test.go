package isthmus

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coredns/caddy"
	_ "github.com/coredns/coredns/plugin/autopath"
	_ "github.com/coredns/coredns/plugin/bufsize"
	_ "github.com/coredns/coredns/plugin/dnssec"
	_ "github.com/coredns/coredns/plugin/minimal"
	clog "github.com/coredns/coredns/plugin/pkg/log"
	_ "github.com/coredns/coredns/plugin/rewrite"
	_ "github.com/coredns/coredns/plugin/view"
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// journal takes CoreDNS's log for the time of a test.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func logged(t *testing.T) *journal {
	j := &journal{}
	clog.SetOutput(j)
	t.Cleanup(func() { clog.SetOutput(os.Stdout) })
	return j
}

// remarks are the warnings of a log about a Corefile, without what is the same
// in all.
func (j *journal) remarks() []string {
	var all []string
	for line := range strings.Lines(j.String()) {
		if _, remark, ok := strings.Cut(line, "[WARNING] plugin/isthmus: Corefile:"); ok {
			all = append(all, strings.TrimSpace(remark))
		}
	}
	return all
}

// least is a stanza without what is not looked at.
const least = "isthmus {\n watcher a\n insecure\n }\n"

// signingKey makes a key of a zone and returns its file without extension.
func signingKey(t *testing.T, dir, zone string) string {
	t.Helper()
	key := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: dns.ZONE | dns.SEP, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	require.NoError(t, err)
	base := filepath.Join(dir, "K"+zone+"+013+00001")
	require.NoError(t, os.WriteFile(base+".key", []byte(key.String()+"\n"), 0o600))
	require.NoError(t, os.WriteFile(base+".private", []byte(key.PrivateKeyString(private)), 0o600))
	return base
}

// Each remark names the line and what to do; what is meant is not remarked on.
func TestRemarks(t *testing.T) {
	dir := t.TempDir()
	key := signingKey(t, dir, "global.")
	const bufsize = "1: bufsize is missing: without it CoreDNS sends UDP answers as large as clients say, and what is larger than a packet gets lost; add bufsize 1232 to the server block"
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "global:0 {\n bind 127.0.0.1\n bufsize 1232\n " + least + "}", nil},
		{"root block", ".:0 {\n bind 127.0.0.1\n bufsize\n " + least + "}", nil},
		{"no bufsize", "global:0 { " + least + "}", []string{bufsize}},
		{"no bufsize and no UDP", "tls://global:0 { " + least + "}", nil},
		{"no bufsize for one of two", "tls://global:0 dns://global:0 { " + least + "}", []string{bufsize}},
		{
			"fallthrough into nothing", "global:0 {\n bufsize\n isthmus {\n watcher a\n insecure\n fallthrough\n }\n}",
			[]string{"3: fallthrough has no plugin to fall through to, so that names which don't exist get SERVFAIL; add one that comes later, as in forward . /etc/resolv.conf, or remove fallthrough"},
		},
		{
			"fallthrough of a zone that isn't ours", "global:0 {\n bufsize\n isthmus {\n watcher a\n insecure\n fallthrough global shop.example\n }\n forward . 192.0.2.1\n}",
			[]string{"3: fallthrough shop.example. does nothing, because the zones of this stanza are global.; name one of them, or a domain in it"},
		},
		{"fallthrough of a part", "global:0 {\n bufsize\n isthmus {\n watcher a\n insecure\n fallthrough production.global\n }\n forward . 192.0.2.1\n}", nil},
		{"fallthrough", "global:0 {\n bufsize\n isthmus {\n watcher a\n insecure\n fallthrough\n }\n forward . 192.0.2.1\n}", nil},
		{
			"zone that is not served", "shop.example:0 {\n bufsize\n isthmus global shop.example {\n watcher a\n insecure\n }\n}",
			[]string{"3: no query for global. comes to the server block shop.example.:0; add global. to its zones"},
		},
		{
			"MCS zone that is not served", "global:0 {\n bufsize\n isthmus {\n watcher a\n insecure\n mcs clusterset.local\n }\n}",
			[]string{"3: no query for clusterset.local. comes to the server block global.:0; add clusterset.local. to its zones"},
		},
		{"MCS zone", "global:0 clusterset.local:0 {\n bufsize\n isthmus global {\n watcher a\n insecure\n mcs clusterset.local\n }\n}", nil},
		{
			"reverse zones that are not served", "global:0 {\n bufsize\n isthmus global 10.0.0.0/9 {\n watcher a\n insecure\n }\n}",
			[]string{"3: no query for 0.10.in-addr.arpa., 1.10.in-addr.arpa., 10.10.in-addr.arpa. and 125 more comes to the server block global.:0; add them to its zones"},
		},
		{"reverse zones", "global:0 10.0.0.0/8:0 {\n bufsize\n isthmus global 10.0.0.0/9 {\n watcher a\n insecure\n }\n}", nil},
		{
			"reverse zone that another block takes", "global:0 in-addr.arpa:0 {\n bufsize\n isthmus global 10.0.0.0/16 {\n watcher a\n insecure\n }\n}\n10.0.0.0/8:0 {\n forward . 192.0.2.1\n}",
			[]string{"3: queries for 0.10.in-addr.arpa. go to the server block 10.in-addr.arpa.:0 and not to this one; move the stanza there"},
		},
		{
			"minimal", "global:0 {\n bufsize\n minimal\n " + least + "}",
			[]string{"3: minimal takes the addresses out of SRV and SVCB answers, and the mark (Extended DNS Error) out of stale ones; remove it unless small answers matter more"},
		},
		{"zone that rewrite leads to", "shop.example:0 {\n bufsize\n rewrite name suffix .shop.example .global\n isthmus global {\n watcher a\n insecure\n }\n}", nil},
		{"zone below the block's", "example:0 {\n bufsize\n isthmus shop.example {\n watcher a\n insecure\n }\n}", nil},
		{"zone above the block's", "production.global:0 {\n bufsize\n isthmus global {\n watcher a\n insecure\n }\n}", nil},
		{
			"zone that another block takes", ".:0 {\n bufsize\n " + least + "}\nGLOBAL:0 {\n forward . 192.0.2.1\n}",
			[]string{"3: queries for global. go to the server block global.:0 and not to this one; move the stanza there"},
		},
		{"a zone that another block has a parent of", ".:0 shop.example:0 {\n bufsize\n isthmus shop.example {\n watcher a\n insecure\n }\n}\nexample:0 {\n forward . 192.0.2.1\n}", nil},
		{
			"a zone that another block takes at one port", ".:0 tls://.:0 {\n bufsize\n " + least + "}\nglobal:0 {\n forward . 192.0.2.1\n}",
			[]string{"3: queries for global. go to the server block global.:0 and not to this one; move the stanza there"},
		},
		{"another block at another port", ".:0 {\n bufsize\n " + least + "}\nglobal:1053 {\n bind 127.0.0.1\n}", nil},
		{"another block by another protocol", ".:0 {\n bufsize\n " + least + "}\ntls://global:0 {\n errors\n}", nil},
		{"another block with a view", ".:0 {\n bufsize\n " + least + "}\nglobal:0 {\n view v {\n expr true\n }\n}", nil},
		{"another block above", "global:0 {\n bufsize\n " + least + "}\n.:0 {\n bufsize\n}", nil},
		{"two blocks at two ports", "global:0 {\n bufsize\n " + least + "}\ntls://global:0 {\n " + least + "}", nil},
		{
			"dnssec without a key", "global:0 {\n bufsize\n dnssec\n " + least + "}",
			[]string{"3: dnssec has no key of global. to sign global. with, so that resolvers which validate refuse it; add one by key file, or name the zones that dnssec has keys of"},
		},
		{
			"dnssec with one zone's key", "global:0 shop.example:0 {\n bufsize\n dnssec {\n key file " + key + "\n }\n " + least + "}",
			[]string{"3: dnssec has no key of shop.example. to sign shop.example. with, so that resolvers which validate refuse it; add one by key file, or name the zones that dnssec has keys of"},
		},
		{"dnssec for the zone that it has a key of", "global:0 shop.example:0 {\n bufsize\n dnssec global {\n key file " + key + ".private\n }\n " + least + "}", nil},
		{"dnssec for another zone", "global:0 {\n bufsize\n dnssec shop.example\n " + least + "}", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			replaceOpen(t)
			j := logged(t)
			start(t, tt.text)
			require.Equal(t, tt.want, j.remarks())
			checked, err := Check(corefile(tt.text))
			require.NoError(t, err)
			for i := range checked {
				checked[i] = strings.TrimPrefix(checked[i], "Corefile:")
			}
			require.Equal(t, tt.want, checked)
			require.Equal(t, tt.want, j.remarks(), "a check says nothing itself")
		})
	}
}

// A reload repeats no remark; one that was gone comes back.
func TestRemarksAtReloads(t *testing.T) {
	replaceOpen(t)
	j := logged(t)
	without := "global:0 {\n bind 127.0.0.1\n " + least + "}"
	with := "global:0 {\n bind 127.0.0.1\n bufsize\n " + least + "}"
	i := start(t, without)
	for n, step := range []struct {
		text string
		want int
	}{{without, 1}, {without, 1}, {with, 1}, {with, 1}, {without, 2}, {without, 2}} {
		next, err := i.Load().Restart(corefile(step.text))
		require.NoError(t, err)
		i.Store(next)
		require.Len(t, j.remarks(), step.want, "reload %d", n)
	}
}

// The autopath plugin asks for a search path by a Pod's address.
func TestAutopathIsRefused(t *testing.T) {
	replaceOpen(t)
	input := corefile("global:0 {\n bufsize\n autopath @isthmus\n " + least + "}")
	_, err := caddy.Start(input)
	_, checked := Check(input)
	require.EqualError(t, checked, err.Error())
	require.EqualError(t, err, "plugin/isthmus: Corefile:3 - Error during parsing: autopath @isthmus: a search path begins with the namespace of the Pod that asks, which isthmus doesn't know: name a file with the search list instead, as in autopath /etc/resolv.conf")
}
