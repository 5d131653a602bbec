package watch

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/dns"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

// machine is a VM on loopback: a process that accepts connections.
type machine struct {
	t    *testing.T
	addr string
	l    net.Listener
}

func boot(t *testing.T, addr string) *machine {
	m := &machine{t: t, addr: addr}
	m.start()
	t.Cleanup(m.die)
	return m
}

func (m *machine) start() {
	l, err := net.Listen("tcp", m.addr)
	require.NoError(m.t, err)
	m.l = l
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
}

func (m *machine) die() { m.l.Close() }

// database is a Service without a selector and its machines, at one port.
func database(port, annotations string, hosts ...string) string {
	var list strings.Builder
	for _, host := range hosts {
		fmt.Fprintf(&list, "  - {addresses: [%s]}\n", host)
	}
	return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata:
  {namespace: vms, name: db, annotations: {isthmus.dev/export: "true"%s}}
spec: {clusterIP: 10.96.0.9, ports: [{port: 5432}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: vms, name: db-1, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{port: %s}]
endpoints:
%s`, annotations, port, list.String())
}

func (r *running) manifest(name, text string) {
	r.t.Helper()
	file := filepath.Join(filepath.Dir(r.file), "manifests", name)
	require.NoError(r.t, os.WriteFile(file+".new", []byte(text), 0o600))
	require.NoError(r.t, os.Rename(file+".new", file))
}

// resolver is an agent's DNS server of a cluster, and whoever asks it.
type resolver struct {
	t    *testing.T
	addr string

	mu   sync.Mutex
	seen map[string]bool // answers since the last take
}

// resolve starts CoreDNS with an agent of a watcher.
func resolve(t *testing.T, of *running) *resolver {
	t.Helper()
	port := freeport.Port(t)
	corefile := filepath.Join(t.TempDir(), "Corefile")
	require.NoError(t, os.WriteFile(corefile, fmt.Appendf(nil,
		"global:%s {\n bind 127.0.0.1\n isthmus {\n watcher %s\n insecure\n clusterset prod\n locality west\n }\n}\n", port, of.gossip), 0o600))
	started := make(chan struct{})
	of.begin(func(ctx context.Context) error {
		return dns.Run(ctx, dns.Options{File: corefile, Quiet: true, Output: io.Discard, Started: func([]string) { close(started) }})
	})
	select {
	case <-started:
	case <-time.After(patience):
		t.Fatal("CoreDNS did not start")
	}
	return &resolver{t: t, addr: "127.0.0.1:" + port, seen: map[string]bool{}}
}

// weights asks for the SRV records of the database: "cluster=weight", sorted.
func (r *resolver) weights() string {
	query := new(mdns.Msg)
	query.SetQuestion("db.vms.global.", mdns.TypeSRV)
	client := mdns.Client{Timeout: 2 * time.Second}
	answer, _, err := client.Exchange(query, r.addr)
	if err != nil {
		return "" // UDP may get lost
	}
	var out []string
	for _, rr := range answer.Answer {
		if srv, ok := rr.(*mdns.SRV); ok {
			cluster, _, _ := strings.Cut(srv.Target, ".")
			out = append(out, fmt.Sprintf("%s=%d", cluster, srv.Weight))
		}
	}
	slices.Sort(out)
	text := strings.Join(out, " ")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[text] = true
	return text
}

// take is which answers there were since the last call.
func (r *resolver) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer clear(r.seen)
	return slices.Sorted(maps.Keys(r.seen))
}

// until waits for an answer, and returns how long it took.
func (r *resolver) until(want string) time.Duration {
	r.t.Helper()
	began, got := time.Now(), ""
	require.Eventually(r.t, func() bool {
		got = r.weights()
		return got == want
	}, patience, 10*time.Millisecond, "want %s", want)
	return time.Since(began).Round(time.Millisecond)
}

// TestVirtualMachineDiesAndReturns: what its owner's watcher finds is what another
// cluster's clients are answered by: a machine that dies has no part in its
// cluster's weight, and gets it back. A watcher that starts anew keeps it out.
func TestVirtualMachineDiesAndReturns(t *testing.T) {
	// Quick enough for a test: down after 2.5 s at most.
	const health = "health: {interval: 500ms, timeout: 200ms, unhealthy: 3, healthy: 2}\n"
	gateway := func(addr string) string {
		return fmt.Sprintf("gateways: [{addresses: [%s], port: 5432, check: {type: none}}]\n", addr)
	}
	quick := Options{AllowLoopback: true, damping: time.Second}
	west := liveWith(t, "west", "locality: west\n"+health, quick)
	east := liveWith(t, "east", "locality: east\n"+health+gateway("192.0.2.3"), quick)
	central := liveWith(t, "central", "locality: central\n"+health+gateway("192.0.2.2"), quick)
	for _, r := range []*running{central, east} {
		text, err := os.ReadFile(r.file)
		require.NoError(t, err)
		r.write(strings.Replace(string(text), "join: []", "join: ["+west.gossip+"]", 1))
	}
	port := freeport.Port(t)
	hosts := []string{"127.7.0.1", "127.7.0.2", "127.7.0.3"}
	var machines []*machine
	for _, host := range hosts {
		machines = append(machines, boot(t, net.JoinHostPort(host, port)))
	}
	central.manifest("db.yaml", database("1", "", hosts...)) // nobody checks: all are ready
	east.manifest("db.yaml", database(port, ", isthmus.dev/check: tcp", hosts...))
	names := resolve(t, west)
	names.until("central=3 east=3")

	machines[1].die()
	t.Logf("another cluster's answers have it no more after %s (promised: 2.5s)", names.until("central=3 east=2"))
	machines[1].start()
	t.Logf("it is back after %s", names.until("central=3 east=3"))

	machines[2].die()
	names.until("central=3 east=2")
	names.take()
	asking := west.begin(func(ctx context.Context) error {
		for ctx.Err() == nil {
			names.weights()
		}
		return nil
	})
	east.stop()
	east.start()
	up := func(state string) float64 { return east.endpoints(t)[state] }
	east.until("the new watcher has checked all", func() bool { return up("up") == 2 && up("down") == 1 })
	asking()
	names.weights()
	require.Equal(t, []string{"central=3 east=2"}, names.take(), "and nothing else in between")

	machines[2].start()
	names.until("central=3 east=3")
	for _, m := range machines {
		m.die()
	}
	t.Logf("a cluster whose machines are all dead is out after %s", names.until("central=3"))
}

// endpoints is the watcher's metric of external endpoints, by state.
func (r *running) endpoints(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := r.metrics.Gather()
	require.NoError(t, err)
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "isthmus_external_endpoints" {
			for _, m := range f.GetMetric() {
				out[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}
