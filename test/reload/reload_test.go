package reload

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/cluster"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

// patience bounds waits; nothing waits for it to pass.
const patience = 30 * time.Second

// corefile has more than one server block, since each is a stanza and a link's
// holder of its own.
const corefile = `global:%[1]s {
    root %[2]s
    bind 127.0.0.1
    bufsize 1232
    errors
    metadata
    prometheus %[3]s
    reload 2s 0s
    isthmus {
        watcher %[4]s
        tls agent.crt agent.key ca.crt
        node node-west
        snapshot snapshot
        ttl %[5]d
    }
}
example:%[1]s {
    root %[2]s
    bind 127.0.0.1
    bufsize 1232
    isthmus {
        watcher %[4]s
        tls agent.crt agent.key ca.crt
        node node-west
        snapshot snapshot
        locality region-east
    }
}
`

// agent is a cluster's agent that is read anew.
type agent struct {
	*cluster.Cluster
	t       *testing.T
	metrics string
}

func (a *agent) write(ttl int) {
	a.t.Helper()
	port := a.DNS[strings.LastIndexByte(a.DNS, ':')+1:]
	text := fmt.Sprintf(corefile, port, a.Dir, a.metrics, a.Gossip, ttl)
	file := filepath.Join(a.Dir, "Corefile.new") // so that nobody reads half of it
	require.NoError(a.t, os.WriteFile(file, []byte(text), 0o600))
	require.NoError(a.t, os.Rename(file, a.Corefile()))
}

// reloads is how often the agent has read its Corefile again.
func (a *agent) reloads() int { return strings.Count(a.Agent.Log(), "Reloading complete") }

func (a *agent) awaitReloads(n int) {
	a.t.Helper()
	require.Eventually(a.t, func() bool { return a.reloads() >= n }, patience, time.Millisecond)
}

// ttl asks for the TTL that the Corefile in force says.
func (a *agent) ttl() uint32 {
	m, err := dns.Exchange(new(dns.Msg).SetQuestion("own.shop.global.", dns.TypeA), a.DNS)
	if err != nil || len(m.Answer) == 0 {
		return 0
	}
	return m.Answer[0].Header().Ttl
}

// holdings are what a process could leak.
type holdings struct{ goroutines, descriptors int }

func (a *agent) holdings() holdings {
	a.t.Helper()
	entries, err := os.ReadDir("/proc/" + strconv.Itoa(a.Agent.PID()) + "/fd")
	require.NoError(a.t, err)
	r, err := http.Get("http://" + a.metrics + "/metrics")
	require.NoError(a.t, err)
	defer r.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(r.Body)
	require.NoError(a.t, err)
	goroutines := families["go_goroutines"].GetMetric()[0].GetGauge().GetValue()
	return holdings{int(goroutines), len(entries)}
}

// TestReload: reloads by signal with the same and with another stanza, then by
// the reload plugin, under load: none lost, none wrong, and afterwards the
// process holds what it held before.
func TestReload(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("needs /proc")
	}
	bySignal, byPlugin := 10, 2
	if soak() {
		bySignal, byPlugin = 100, 10
	}
	a, questions := world(t)
	before := a.holdings()
	l := begin(t, a.DNS, questions)
	begun := time.Now()
	for i := range bySignal {
		ttl := 5 + i/2%2 // every other reload changes nothing
		a.write(ttl)
		require.NoError(t, syscall.Kill(a.Agent.PID(), syscall.SIGUSR1))
		a.awaitReloads(i + 1)
		seen := l.answered.Load() // the new instance is at work, not only the one before
		require.Eventually(t, func() bool { return l.answered.Load() >= seen+between }, patience, time.Millisecond)
	}
	signalled := time.Since(begun)
	// The reload plugin may have been quicker to see a change than the signal.
	done := a.reloads()
	for i := range byPlugin {
		ttl := 10 + i
		a.write(ttl)
		require.Eventually(t, func() bool { return a.ttl() == uint32(ttl) }, patience, 10*time.Millisecond)
	}
	a.awaitReloads(done + byPlugin)
	took := time.Since(begun)
	l.end(t)
	udp := l.asked.Load() - l.tcp.Load()
	t.Logf("%d reloads by signal in %v, %d by the plugin, in %v together; UDP: %d queries, %.0f a second, none lost or wrong, %d not sent since the machine was too slow; TCP: %d queries, none wrong, %d asked again",
		bySignal, signalled.Round(time.Millisecond), byPlugin, took.Round(time.Millisecond),
		udp, float64(udp)/took.Seconds(), l.held.Load(), l.tcp.Load(), l.closed.Load())
	var after holdings
	require.Eventually(t, func() bool {
		after = a.holdings()
		return after.goroutines <= before.goroutines+slack && after.descriptors <= before.descriptors+slack
	}, patience, 100*time.Millisecond, "%+v before, and after", before)
	t.Logf("before %+v, after %+v", before, after)
	a.Agent.Stop()
}

// between is how many answers pass from one reload to the next signal.
const between = 200

// slack is what comes and goes by itself: a connection of the metrics'
// reader, a lookup, a timer's goroutine. One instance that stayed would hold
// four sockets and a dozen goroutines.
const slack = 3

// world starts two clusters and waits until west's agent knows both.
func world(t *testing.T) (*agent, []question) {
	t.Helper()
	if os.Getenv("ISTHMUS_BIN") == "" {
		t.Skip("needs the program: make build, and its path in ISTHMUS_BIN")
	}
	set := cluster.New(t, "west", "east")
	west, east := set.Clusters[0], set.Clusters[1]
	a := &agent{Cluster: west, t: t, metrics: freeport.Addr(t)}
	a.write(5)
	set.Start()
	west.Export(cluster.Service{Namespace: "shop", Name: "own", Ready: 1})
	east.Export(cluster.Service{Namespace: "shop", Name: "far", Ready: 1})
	west.Answers("own.shop.global", "A", west.ClusterIP("own"))
	west.Answers("far.shop.global", "A", east.Gateway)
	require.Eventually(t, func() bool { return a.holdings().goroutines > 0 }, patience, 10*time.Millisecond)
	return a, []question{
		{"own.shop.global.", dns.TypeA, []string{west.ClusterIP("own")}},
		{"far.shop.global.", dns.TypeA, []string{east.Gateway}},
		{"far.shop.example.", dns.TypeA, []string{east.Gateway}},
		{"_http._tcp.far.shop.global.", dns.TypeSRV, []string{"3 1 8080 east.far.shop.global."}},
		{"own.shop.global.", dns.TypeAAAA, []string{""}},
		{"nobody.shop.global.", dns.TypeA, []string{"NXDOMAIN"}},
		{"elsewhere.test.", dns.TypeA, []string{"REFUSED"}},
	}
}
