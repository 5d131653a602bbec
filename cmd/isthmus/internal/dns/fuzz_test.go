package dns

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip/trust"
	"github.com/isthmus-dns/isthmus/test/cluster"
	"github.com/isthmus-dns/isthmus/test/conform"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

// fuzzBufsize is bufsize in our Corefiles.
const fuzzBufsize = 1232

// debug has a panic end the process, which CoreDNS would survive otherwise.
const fuzzCorefile = `global:%[1]s shop.example:%[1]s {
    root %[2]s
    bind 127.0.0.1
    bufsize %[4]d
    debug
    errors
    isthmus {
        watcher %[3]s
        tls agent.crt agent.key ca.crt
    }
}
`

// FuzzServer sends packets to a running server. Each gets one reply that can be
// read, is its own, and is no larger than its client takes; a response, and
// what is too short for a header, gets none.
func FuzzServer(f *testing.F) {
	for _, p := range conform.Packets() {
		f.Add(p.Octets, false)
		f.Add(p.Octets, true)
	}
	s := fuzzed{addr: serveModel(f)}
	sentinel := conform.Sentinel()
	n := 0
	f.Fuzz(func(t *testing.T, packet []byte, tcp bool) {
		network := "udp"
		if tcp {
			network = "tcp"
		}
		packet = packet[:min(len(packet), 4096)]
		if len(packet) < 12 || packet[2]&0x80 != 0 {
			s.send(t, network, packet)
			s.exchange(t, network, sentinel) // a reply to the packet would come instead
			return
		}
		s.exchange(t, network, packet)
		if n++; n%64 == 0 {
			require.NoError(t, conform.Alive(s.addr))
		}
	})
}

// serveModel serves a table to a server of this process, and waits until it
// answers.
func serveModel(tb testing.TB) (addr string) {
	m := conform.NewModel()
	// Many clusters make many heartbeats, which a fuzzer takes for news.
	m.Clusters = slices.DeleteFunc(m.Clusters, func(c conform.Cluster) bool { return strings.HasPrefix(c.Record.Name, "edge-") })
	dir := tb.TempDir()
	authority, err := trust.NewAuthority(cluster.Name)
	require.NoError(tb, err)
	cluster.Issue(tb, authority, trust.ID{Clusterset: cluster.Name, Cluster: m.Viewer.Cluster, Role: trust.Agent}, filepath.Join(dir, "agent"))
	require.NoError(tb, os.WriteFile(filepath.Join(dir, "ca.crt"), authority.CertPEM(), 0o600))
	port, watcher := freeport.Port(tb), freeport.Addr(tb)
	m.Watch(tb, authority, watcher)
	start(tb, Options{File: corefile(tb, fmt.Sprintf(fuzzCorefile, port, dir, watcher, fuzzBufsize))})
	for _, c := range m.Clusters {
		name := c.Record.Name + "." + string(c.Services[len(c.Services)-1].Key()) + ".global."
		require.Eventually(tb, func() bool {
			r, err := ask("udp", port, name)
			return err == nil && r.Rcode == dns.RcodeSuccess
		}, time.Minute, 10*time.Millisecond, name)
	}
	return "127.0.0.1:" + port
}

// fuzzed is the server as a fuzz worker sees it: a connection of each kind that
// lasts.
type fuzzed struct {
	addr     string
	udp, tcp *conform.Conn
}

func (s *fuzzed) conn(t *testing.T, network string) **conform.Conn {
	c := &s.udp
	if network == "tcp" {
		c = &s.tcp
	}
	if *c == nil {
		var err error
		*c, err = conform.Dial(network, s.addr)
		require.NoError(t, err)
	}
	return c
}

func (s *fuzzed) send(t *testing.T, network string, packet []byte) {
	if (*s.conn(t, network)).Send(packet) == nil {
		return
	}
	s.hangUp(network) // the server did; servers may
	require.NoError(t, (*s.conn(t, network)).Send(packet))
}

func (s *fuzzed) hangUp(network string) {
	c := s.conn(nil, network)
	_ = (*c).Close()
	*c = nil
}

// exchange sends a packet that must be answered, twice if the server hangs up
// a TCP connection that it has had enough of.
func (s *fuzzed) exchange(t *testing.T, network string, packet []byte) {
	s.send(t, network, packet)
	reply, err := (*s.conn(t, network)).Receive()
	if err != nil && network == "tcp" {
		s.hangUp(network)
		s.send(t, network, packet)
		reply, err = (*s.conn(t, network)).Receive()
	}
	require.NoError(t, err)
	judge(t, network, packet, reply)
}

func judge(t *testing.T, network string, packet, reply []byte) {
	limit := dns.MinMsgSize
	q, r := new(dns.Msg), new(dns.Msg)
	readable := q.Unpack(packet) == nil
	if opt := q.IsEdns0(); readable && opt != nil {
		limit = min(max(int(opt.UDPSize()), dns.MinMsgSize), fuzzBufsize)
	}
	if network == "udp" {
		require.LessOrEqual(t, len(reply), limit, "%x", reply)
	}
	require.NoError(t, r.Unpack(reply), "%x", reply)
	require.True(t, r.Response)
	require.Equal(t, packet[:2], reply[:2])
	if readable && len(r.Question) > 0 {
		require.Equal(t, q.Question[0], r.Question[0])
	}
}
