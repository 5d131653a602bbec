package resolvers

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/cluster"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

const (
	// ttl is what the agent says of records and of their absence (SOA minimum),
	// in seconds.
	ttl = 5
	// propagation bounds, with room for a busy machine, how long a change
	// takes to the agent, and a cache to look again.
	propagation = 10 * time.Second
)

// cacheCorefile is a caching resolver as clusters have it: CoreDNS before us.
const cacheCorefile = `.:%[1]s {
    bind 127.0.0.1
    errors
    cache
    forward . %[2]s
}
`

// startCache runs a caching resolver in front of a cluster's agent.
func startCache(t *testing.T, c *cluster.Cluster) (addr string) {
	port := freeport.Port(t)
	file := filepath.Join(c.Dir, "Corefile-cache")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, cacheCorefile, port, c.DNS), 0o600))
	cmd := exec.Command(cluster.Binary(t), "dns", "-conf", file)
	log, err := os.Create(filepath.Join(c.Dir, "cache.log"))
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails only if it has ended by now
		_ = cmd.Wait()
		_ = log.Close()
	})
	return net.JoinHostPort("127.0.0.1", port)
}

// state is what a server says of a name: whether it has addresses, and for how
// long that may be believed.
type state struct {
	exists bool
	ttl    uint32
}

func look(addr, name string) (state, error) {
	c := dns.Client{Timeout: 2 * time.Second}
	m, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), addr)
	switch {
	case err != nil:
		return state{}, err
	case m.Rcode == dns.RcodeSuccess && len(m.Answer) == 1:
		return state{true, m.Answer[0].Header().Ttl}, nil
	case m.Rcode == dns.RcodeNameError && len(m.Ns) == 1:
		return state{false, m.Ns[0].Header().Ttl}, nil
	}
	return state{}, fmt.Errorf("neither an address nor NXDOMAIN with SOA: %v", m)
}

// TestThroughACache: what a cache has kept of a name that did not exist, or
// exists no longer, holds no longer than its TTL, which is the agent's.
func TestThroughACache(t *testing.T) {
	needProgram(t)
	s := cluster.New(t, "west", "east")
	west, east := s.Clusters[0], s.Clusters[1]
	s.Start()
	cache := startCache(t, west)
	late := cluster.Service{Namespace: "shop", Name: "late", Ready: 1}
	const name = "late.shop.global."
	require.Eventually(t, func() bool {
		_, err := look(cache, name)
		return err == nil
	}, propagation, 10*time.Millisecond, "the cache answers")
	for _, step := range []struct {
		name   string
		exists bool
		do     func()
	}{
		{"created after a cached NXDOMAIN", true, func() { east.Export(late) }},
		{"removed after a cached answer", false, func() { east.Unexport(late) }},
		{"created again", true, func() { east.Export(late) }},
	} {
		s.Step(step.name, func(t *testing.T) { change(t, west, cache, name, step.exists, step.do) })
	}
}

// change makes a name begin or cease to exist, and follows what the agent and
// the cache before it say.
func change(t *testing.T, west *cluster.Cluster, cache, name string, exists bool, do func()) {
	kept := freshlyKept(t, cache, name, !exists)
	do()
	began := time.Now()
	require.Eventually(t, func() bool {
		now, err := look(west.DNS, name)
		return err == nil && now.exists == exists
	}, propagation, 5*time.Millisecond, "the agent knows")
	known := time.Now()
	// From here on nothing old comes from the agent. What the cache has kept
	// it may tell until the TTL that it tells has run down, and not anew.
	left, asked := kept.ttl, 0
	for ; ; asked++ {
		now, err := look(cache, name)
		require.NoError(t, err)
		if now.exists == exists {
			require.LessOrEqual(t, now.ttl, uint32(ttl))
			break
		}
		require.LessOrEqual(t, now.ttl, left, "what is old counts down")
		left = now.ttl
		require.Less(t, time.Since(began), ttl*time.Second+propagation, "the cache tells what is old for too long")
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("known to the agent after %v, through the cache %v later, in %d questions",
		known.Sub(began).Round(time.Millisecond), time.Since(known).Round(time.Millisecond), asked)
	if time.Since(began) < (ttl-1)*time.Second {
		require.Positive(t, asked, "the cache had it kept")
	}
}

// freshlyKept waits until the cache has just learned what is still the case,
// with its whole TTL before it.
func freshlyKept(t *testing.T, cache, name string, exists bool) (kept state) {
	require.Eventually(t, func() bool {
		var err error
		kept, err = look(cache, name)
		return err == nil && kept.exists == exists && kept.ttl == ttl
	}, 2*ttl*time.Second+propagation, 20*time.Millisecond, "the cache learns anew")
	return kept
}
