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
	want := len(m.Clusters)
	require.Eventually(t, func() bool {
		r, err := ask("tcp", a.DNS, new(dns.Msg).SetQuestion("_clusters.global.", dns.TypeTXT))
		return err == nil && len(r.Answer) == want && allThere(a, m)
	}, 3*patience, 50*time.Millisecond, "the agent has %d clusters", want)
}

// allThere asks for a service of each cluster, the last one first.
func allThere(a agent, m *Model) bool {
	for i := len(m.Clusters) - 1; i >= 0; i-- {
		c := m.Clusters[i]
		s := c.Services[len(c.Services)-1]
		r, err := ask("udp", a.DNS, new(dns.Msg).SetQuestion(c.Record.Name+"."+string(s.Key())+".global.", dns.TypeTXT))
		if err != nil || r.Rcode != dns.RcodeSuccess {
			return false
		}
	}
	return true
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
