//go:build linux

package dnsperf

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/freeport"
)

// server is a DNS server under test.
type server struct {
	name string
	addr string // of DNS, UDP
	// profile is the address of its pprof plugin, "" if it has none.
	profile string
	*process
}

// Corefiles differ in the plugin that answers, and in nothing else.
const (
	corefile = `global:%[1]s {
    bind 127.0.0.1
    bufsize 1232
%[2]s%[3]s}
`
	stanzaIsthmus = `    isthmus {
        watcher %s
        tls west-agent.crt west-agent.key ca.crt
        ttl 5
    }
`
	stanzaHosts = `    hosts hosts {
        ttl 5
        no_reverse
    }
`
)

// coreDNS starts our program as an agent. usual are the lines that most
// Corefiles have besides: errors, prometheus, loadbalance.
func coreDNS(tb testing.TB, dir, program, name, stanza string, usual bool) *server {
	var more strings.Builder
	if usual {
		fmt.Fprintf(&more, "    errors\n    prometheus 127.0.0.1:%s\n    loadbalance\n", freeport.Port(tb))
	}
	s := &server{name: name}
	if *profiles != "" {
		s.profile = "127.0.0.1:" + freeport.Port(tb)
		fmt.Fprintf(&more, "    pprof %s\n", s.profile)
	}
	port := freeport.Port(tb)
	s.addr = net.JoinHostPort("127.0.0.1", port)
	file := fmt.Sprintf("Corefile-%s-%s", name, port)
	text := fmt.Sprintf(corefile, port, more.String(), stanza)
	require.NoError(tb, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
	// One processor each: the other one is dnsperf's, and threads that look for
	// work add no noise.
	s.process = start(tb, dir, file, []string{"GOMAXPROCS=1"}, program, "dns", "-conf", file, "-quiet")
	return s
}

// writeHosts writes the file of the hosts plugin.
func writeHosts(tb testing.TB, dir string) {
	var text strings.Builder
	for i := range services {
		fmt.Fprintf(&text, "%s %s\n", gateway, qname(i))
	}
	require.NoError(tb, os.WriteFile(filepath.Join(dir, "hosts"), []byte(text.String()), 0o600))
}

// await waits until the server answers the last name, then checks all of
// them: a server that answers less has less to do.
func (s *server) await(tb testing.TB) {
	require.Eventually(tb, func() bool {
		require.True(tb, s.alive(), "%s ended: %s", s.name, s.said())
		m, err := s.ask(qname(services - 1))
		return err == nil && len(m.Answer) == 1
	}, time.Minute, 50*time.Millisecond, "%s answers", s.name)
	for i := range services {
		m, err := s.ask(qname(i))
		require.NoError(tb, err)
		require.Len(tb, m.Answer, 1, qname(i))
		require.Equal(tb, gateway, m.Answer[0].(*dns.A).A.String(), "%s: %s", s.name, qname(i))
		require.Equal(tb, uint32(5), m.Answer[0].Header().Ttl)
		require.True(tb, m.Authoritative)
	}
}

func (s *server) ask(name string) (*dns.Msg, error) {
	m, _, err := (&dns.Client{Timeout: 2 * time.Second}).Exchange(new(dns.Msg).SetQuestion(name+".", dns.TypeA), s.addr)
	return m, err
}
