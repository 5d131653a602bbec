package isthmus

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/freeport"
)

// Knot takes zones of all kinds from a server, serves what the server does, and
// by IXFR sees when the table has changed.
func TestSecondary(t *testing.T) {
	knotd, err := exec.LookPath("knotd")
	if err != nil {
		t.Skip("knotd is not installed (Debian's package knot)")
	}
	o := replaceOpen(t)
	l := newLink(kindsTable(t))
	l.view.Store(&View{Cluster: "west", Network: "flat", Locality: westLocality})
	o.link = func(linkConfig) *fakeLink { return l }
	primary := freeport.Port(t)
	start(t, strings.ReplaceAll(`global.:PORT clusterset.local.:PORT 10.0.0.0/8:PORT {
	bind 127.0.0.1
	isthmus {
		watcher 127.0.0.1:1
		insecure
		mcs clusterset.local
	}
	transfer {
		to *
	}
}
`, "PORT", primary))
	addr := runKnot(t, knotd, primary, "global.", "clusterset.local.", "10.in-addr.arpa.")

	client := &dns.Client{Timeout: time.Second}
	has := func(name string, qtype uint16, want ...string) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			m, _, err := client.Exchange(question(name, qtype), addr)
			if assert.NoError(c, err) {
				assert.ElementsMatch(c, want, lines(m.Answer))
			}
		}, 30*time.Second, 50*time.Millisecond)
	}
	has("user-service.production.global.", dns.TypeA, "user-service.production.global. 5 IN A 10.1.0.1")
	has("_http._tcp.orders.production.svc.clusterset.local.", dns.TypeSRV,
		"_http._tcp.orders.production.svc.clusterset.local. 5 IN SRV 0 100 80 orders-0.west.orders.production.svc.clusterset.local.",
		"_http._tcp.orders.production.svc.clusterset.local. 5 IN SRV 0 100 80 orders-1.west.orders.production.svc.clusterset.local.")
	has("1.0.1.10.in-addr.arpa.", dns.TypePTR, "1.0.1.10.in-addr.arpa. 5 IN PTR user-service.production.global.")

	apply(t, l.table, cluster("west", westLocality), 9, service("a", "later", 1, 1, "10.1.0.99"))
	has("later.a.global.", dns.TypeA, "later.a.global. 5 IN A 10.1.0.99")
	has("99.0.1.10.in-addr.arpa.", dns.TypePTR, "99.0.1.10.in-addr.arpa. 5 IN PTR later.a.global.")
}

// runKnot runs a secondary until the test ends, which looks for new serials
// every two seconds.
func runKnot(t *testing.T, knotd, primary string, zones ...string) (addr string) {
	t.Helper()
	dir, port := t.TempDir(), freeport.Port(t)
	var conf strings.Builder
	fmt.Fprintf(&conf, "server:\n  rundir: %s\n  listen: 127.0.0.1@%s\n", dir, port)
	fmt.Fprintf(&conf, "database:\n  storage: %s\n", dir)
	fmt.Fprintf(&conf, "remote:\n  - id: agent\n    address: 127.0.0.1@%s\n", primary)
	fmt.Fprintf(&conf, "template:\n  - id: default\n    storage: %s\n    master: agent\n    refresh-max-interval: 2\n    retry-max-interval: 2\n", dir)
	conf.WriteString("zone:\n")
	for _, z := range zones {
		fmt.Fprintf(&conf, "  - domain: %s\n", z)
	}
	path := filepath.Join(dir, "knot.conf")
	require.NoError(t, os.WriteFile(path, []byte(conf.String()), 0o600))
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	cmd := exec.Command(knotd, "-c", path)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s", text)
		}
	})
	return "127.0.0.1:" + port
}
