package probe

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

// listenAt has this test's binary be a gateway that somebody may kill.
const listenAt = "ISTHMUS_TEST_LISTEN"

// checkOne has it make one check and print what came of it.
const checkOne = "ISTHMUS_TEST_CHECK"

func TestMain(m *testing.M) {
	if addr := os.Getenv(listenAt); addr != "" {
		_ = http.ListenAndServe(addr, http.NotFoundHandler()) // until it is killed
		os.Exit(1)
	}
	if addr := os.Getenv(checkOne); addr != "" {
		printCheck(addr)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// printCheck is what the process in the namespace does.
func printCheck(addr string) {
	at := netip.MustParseAddrPort(addr)
	r := checker{dial: dialTCP}.check(context.Background(), Target{Addr: at.Addr(), Port: at.Port()}, time.Minute)
	fmt.Print(outcomeNames[r.outcome], " ", r.detail)
}

// gateway is something on loopback that can be broken and mended.
type gateway struct {
	at          netip.AddrPort
	target      Target
	kill, raise func()
}

// inProcess is a gateway in a process of its own.
func inProcess(t *testing.T) gateway {
	addr := net.JoinHostPort("127.0.0.1", freeport.Port(t))
	var cmd *exec.Cmd
	g := gateway{at: netip.MustParseAddrPort(addr)}
	g.kill = func() {
		if cmd != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			cmd = nil
		}
	}
	g.raise = func() {
		cmd = exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), listenAt+"="+addr)
		require.NoError(t, cmd.Start())
	}
	t.Cleanup(g.kill)
	g.raise()
	return g
}

// switched answers in one of two ways.
func switched(t *testing.T, target Target, well, badly func(net.Conn)) gateway {
	var broken atomic.Bool
	g := gateway{target: target}
	g.at = serve(t, func(conn net.Conn) {
		if broken.Load() {
			badly(conn)
		} else {
			well(conn)
		}
	})
	g.kill, g.raise = func() { broken.Store(true) }, func() { broken.Store(false) }
	return g
}

// swallowing dials a gateway on loopback, and while it is broken an address
// whose packets are dropped.
func swallowing(t *testing.T, well netip.AddrPort) (g gateway, dial DialFunc) {
	lost := deaf(t)
	var broken atomic.Bool
	g = gateway{at: well, kill: func() { broken.Store(true) }, raise: func() { broken.Store(false) }}
	return g, func(ctx context.Context, at netip.AddrPort) (net.Conn, error) {
		if broken.Load() {
			at = lost
		}
		return dialTCP(ctx, at)
	}
}

// Real servers on real sockets: whatever kills a gateway, it is down, and comes
// back. That it is down in time is asserted where time can be: see
// TestDeathAndReturn. Here it is logged.
func TestDeaths(t *testing.T) {
	a := newAuthority(t)
	fine := a.server(t, "gw.example", time.Hour, 0)
	secure := Target{Check: discovery.CheckTLS, Host: "gw.example", Verify: true}
	swallowed, dial := swallowing(t, serve(t, silent))
	tests := map[string]struct {
		gateway gateway
		dial    DialFunc
		detail  string
	}{
		"process killed":  {gateway: inProcess(t), detail: "connect: connection refused"},
		"packets dropped": {gateway: swallowed, dial: dial, detail: "connect: timed out"},
		"TLS garbage":     {gateway: switched(t, Target{Check: discovery.CheckTLS}, inTLS(fine, silent), says("garbage garbage")), detail: "tls: the peer speaks no TLS"},
		"TLS expired": {
			gateway: switched(t, secure, inTLS(fine, silent), inTLS(a.server(t, "gw.example", -time.Hour, 0), silent)),
			detail:  "tls: certificate expired or not yet valid",
		},
		"TLS of another": {
			gateway: switched(t, secure, inTLS(fine, silent), inTLS(a.server(t, "other.example", time.Hour, 0), silent)),
			detail:  "tls: certificate for another name",
		},
		"TLS hangs":  {gateway: switched(t, Target{Check: discovery.CheckTLS}, inTLS(fine, silent), silent), detail: "tls: timed out"},
		"HTTP 503":   {gateway: switched(t, Target{Check: discovery.CheckHTTP}, says("HTTP/1.1 200 OK\r\n\r\n"), says("HTTP/1.1 503 X\r\n\r\n")), detail: "http: status 503"},
		"HTTP hangs": {gateway: switched(t, Target{Check: discovery.CheckHTTP}, says("HTTP/1.1 200 OK\r\n\r\n"), drips("HTTP/1.1 200 OK\r\n")), detail: "http: timed out"},
	}
	health := Health{Interval: time.Second, Timeout: 700 * time.Millisecond, Unhealthy: 3, Healthy: 2}
	require.NoError(t, health.Validate())
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := New(Config{
				Policy: Policy{Health: health, Damping: time.Millisecond, Roots: a.pool, Fit: func(netip.Addr) bool { return true }},
				Dial:   tc.dial,
			})
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _ = p.Run(ctx) })
			defer wg.Wait()
			defer cancel()
			target := tc.gateway.target
			target.Cluster, target.Addr, target.Port = "east", tc.gateway.at.Addr(), tc.gateway.at.Port()
			p.SetTargets([]Target{target})
			is := func(want Status) func() bool {
				return func() bool { return p.Snapshot().State(target).Status == want }
			}
			require.Eventually(t, is(Up), time.Minute, ms)
			died := time.Now()
			tc.gateway.kill()
			require.Eventually(t, is(Down), time.Minute, ms)
			t.Logf("down after %s of %s", time.Since(died).Round(ms), 3*health.Interval+grace)
			require.Eventually(t, func() bool { return p.Snapshot().State(target).Error == tc.detail }, time.Minute, ms)
			tc.gateway.raise()
			require.Eventually(t, is(Up), time.Minute, ms)
			require.Positive(t, p.Snapshot().State(target).RTT.Smoothed)
		})
	}
}

// Everything at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	at := serve(t, silent)
	p, err := New(Config{
		Policy: Policy{Fit: func(netip.Addr) bool { return true }, Health: Health{Interval: 100 * ms, Timeout: 50 * ms}},
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{at.Addr()}, nil
		},
		Logger: slog.New(slog.NewJSONHandler(io.Discard, nil)),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.Run(ctx) })
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				p.SetTargets([]Target{
					{Cluster: "east", Host: "lb.example", Port: at.Port()},
					{Cluster: "east", Addr: at.Addr(), Port: at.Port() + uint16((n+i)%3)},
				})
				if err := p.ChangePolicy(func(policy *Policy) { policy.Health = Health{Interval: 100 * ms, Timeout: 50 * ms} }); err != nil {
					panic(err)
				}
				for _, results := range p.Snapshot().All() {
					p.Adopt(results)
				}
				p.leftOut()
				time.Sleep(ms)
			}
		})
	}
	target := Target{Cluster: "east", Addr: at.Addr(), Port: at.Port(), Host: "lb.example"}
	require.Eventually(t, func() bool { return p.Snapshot().State(target).Status == Up }, time.Minute, ms)
	cancel()
	wg.Wait()
}
