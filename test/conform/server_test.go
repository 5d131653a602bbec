package conform

import (
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

func TestMain(m *testing.M) { cluster.Main(m) }

// origins are the zones of the agent's stanza.
var origins = []string{"global.", "shop.example."}

// corefile is as deploy's, but for its addresses, and that it forwards nothing.
// debug makes a panic end the process, which CoreDNS would hide otherwise.
const corefile = `global:%[1]s shop.example:%[1]s {
    root %[2]s
    bind 127.0.0.1
    bufsize 1232
    debug
    errors
    ready %[3]s
%[5]s
    isthmus {
        watcher %[4]s
        tls agent.crt agent.key ca.crt
    }
}
`

// agent is `isthmus dns` of the viewer's cluster; its watchers are the test's.
type agent struct {
	*cluster.Cluster
	set *cluster.Set
}

// newAgent starts one that has no watcher yet. more are lines of the Corefile.
func newAgent(t testing.TB, more string) agent {
	t.Helper()
	set := cluster.New(t, "west")
	c := set.Clusters[0]
	_, port, err := net.SplitHostPort(c.DNS)
	require.NoError(t, err)
	text := fmt.Sprintf(corefile, port, c.Dir, c.Ready, c.Gossip, more)
	require.NoError(t, os.WriteFile(c.Corefile(), []byte(text), 0o600))
	c.Agent.Start()
	return agent{c, set}
}

// watch starts the watchers, and waits until the agent has all that they have.
func (a agent) watch(t testing.TB, m *Model) {
	t.Helper()
	m.Watch(t, a.set.Authority, a.Gossip)
	for _, c := range m.Clusters {
		// A part is there as a whole or not at all.
		name := c.Record.Name + "." + string(c.Services[0].Key()) + ".global."
		require.Eventually(t, func() bool {
			r, err := ask("udp", a.DNS, new(dns.Msg).SetQuestion(name, dns.TypeTXT))
			return err == nil && r.Rcode == dns.RcodeSuccess
		}, 3*patience, 20*time.Millisecond, name)
	}
}

// serve is newAgent and watch.
func serve(t testing.TB, m *Model, more string) agent {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	a := newAgent(t, more)
	a.watch(t, m)
	return a
}

func ask(network, addr string, q *dns.Msg) (*dns.Msg, error) {
	r, _, err := (&dns.Client{Net: network, Timeout: patience, UDPSize: dns.MaxMsgSize}).Exchange(q, addr)
	return r, err
}
