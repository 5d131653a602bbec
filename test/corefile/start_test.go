package corefile

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/cluster"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

// TestEveryCorefile: all start, answer over UDP, get no remark of ours, and
// end when they are told to.
func TestEveryCorefile(t *testing.T) {
	all := corefiles(t)
	require.GreaterOrEqual(t, len(all), 5)
	clusters := cluster.New(t, "west")
	c := clusters.Clusters[0]
	for _, f := range all {
		clusters.Step(f.String(), func(t *testing.T) {
			text, server := placed(t, c, f.text)
			require.NoError(t, os.WriteFile(c.Corefile(), []byte(text), 0o600))
			before := len(c.Agent.Log())
			c.Agent.Start()
			require.Eventually(t, func() bool {
				// No question: the server answers by itself and forwards nothing.
				_, err := dns.Exchange(new(dns.Msg), server)
				return err == nil || !c.Agent.Running()
			}, 30*time.Second, 10*time.Millisecond, "%s", text)
			require.True(t, c.Agent.Running(), "%s\n%s", text, c.Agent.Log()[before:])
			c.Agent.Stop()
			log := c.Agent.Log()[before:]
			require.NotContains(t, log, "plugin/isthmus: "+c.Corefile()+":", "remarks on\n%s", text)
			require.NotContains(t, log, "[ERROR]")
		})
	}
}

var (
	tls      = regexp.MustCompile(`(?m)^(\s+tls) +\S+ +\S+ +\S+$`)
	set      = regexp.MustCompile(`(?m)^(\s+clusterset) +\S+$`)
	snapshot = regexp.MustCompile(`(?m)^(\s+snapshot) +\S+$`)
	resolv   = regexp.MustCompile(`/etc/resolv\.conf`)
	sides    = regexp.MustCompile(`(?m)^(\s+)(ready|health|prometheus|pprof)( +\S*:\d+)?( *\{)?$`)
	port     = regexp.MustCompile(`:\d+$`)
	// A plugin that is in no Pod must be told where its API server is; it starts
	// without one, too.
	kubernetes = regexp.MustCompile(`(?m)^(\s+)kubernetes [^{\n]*\{$`)
	// The plugin asks the name server that it forwards to, which is nobody here.
	loop = regexp.MustCompile(`(?m)^\s+loop$`)
	// What clients would have time for, and there are none.
	lameduck = regexp.MustCompile(`(?m)^(\s+lameduck) +\S+$`)
)

// placed puts addresses of this test into a Corefile, and files that are there,
// and returns where it is served by plain DNS.
func placed(t *testing.T, c *cluster.Cluster, text string) (changed, server string) {
	t.Helper()
	upstreams := filepath.Join(c.Dir, "resolv.conf")
	require.NoError(t, os.WriteFile(upstreams, []byte("search svc.cluster.local\nnameserver 192.0.2.53\n"), 0o600))
	in := func(name string) string { return filepath.Join(c.Dir, name) }
	text = tls.ReplaceAllString(text, fmt.Sprintf("$1 %s %s %s", in("agent.crt"), in("agent.key"), in("ca.crt")))
	// Clustersets of examples are others than the one of these certificates.
	text = set.ReplaceAllString(text, "$1 "+cluster.Name)
	text = snapshot.ReplaceAllString(text, "$1 "+in("snapshot"))
	text = resolv.ReplaceAllString(text, upstreams)
	text = sides.ReplaceAllStringFunc(text, func(line string) string {
		m := sides.FindStringSubmatch(line)
		return m[1] + m[2] + " " + freeport.Addr(t) + m[4]
	})
	text = kubernetes.ReplaceAllString(text, "$0\n$1    endpoint http://"+freeport.Addr(t))
	text = lameduck.ReplaceAllString(loop.ReplaceAllString(text, ""), "$1 1ms")
	ports := map[string]string{} // of the Corefile, to those of the test
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if !header.MatchString(line) {
			continue
		}
		keys := strings.Fields(strings.TrimSuffix(line, "{"))
		for k, key := range keys {
			scheme, zone, ok := strings.Cut(key, "://")
			if !ok {
				scheme, zone = "dns", key
			}
			old := port.FindString(zone)
			if ports[scheme+old] == "" {
				ports[scheme+old] = freeport.Port(t)
			}
			keys[k] = scheme + "://" + strings.TrimSuffix(zone, old) + ":" + ports[scheme+old]
			if scheme == "dns" {
				server = net.JoinHostPort("127.0.0.1", ports[scheme+old])
			}
		}
		lines[i] = strings.Join(keys, " ") + " {\n    bind 127.0.0.1"
	}
	require.NotEmpty(t, server, "no server block by plain DNS")
	return strings.Join(lines, "\n"), server
}
