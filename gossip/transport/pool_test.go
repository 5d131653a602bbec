package transport

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// echo is a Handler that hands messages to a test.
type echo struct{ messages chan string }

func (e *echo) HandleMessage(_ string, msg []byte) { e.messages <- string(msg) }
func (e *echo) Digest() []byte                     { return []byte("digest") }
func (e *echo) HandleDigest([]byte)                {}
func (e *echo) PeersChanged()                      {}

type member struct {
	*gossip.Pool
	*echo
	*running
	stop func() // farewell, pool, then transport
}

// startMember runs a pool over a transport, as the watcher does.
func startMember(t testing.TB, cfg Config, join ...string) *member {
	t.Helper()
	return startMemberAt(t, "", cfg, join...)
}

// startMemberAt advertises another address than its own, unless that is empty.
func startMemberAt(t testing.TB, advertise string, cfg Config, join ...string) *member {
	t.Helper()
	m := &member{running: start(t, cfg), echo: &echo{messages: make(chan string, 1024)}}
	m.runPool(t, gossip.Config{Advertise: advertise, Join: join})
	return m
}

// runPool starts the pool of a transport that runs.
func (m *member) runPool(t testing.TB, c gossip.Config) {
	t.Helper()
	c.Name = m.cfg.Name
	if c.Advertise == "" {
		c.Advertise = m.Addr().String()
	}
	c.Transport, c.Handler = m.Transport, m.echo
	c.Logger = slog.New(slog.NewTextHandler(m.logs, nil))
	pool, err := gossip.New(c)
	require.NoError(t, err)
	m.Pool = pool
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- pool.Run(ctx) }()
	m.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
		m.running.stop()
	})
	t.Cleanup(m.stop)
}

func (m *member) names() []string {
	var names []string
	for _, o := range m.Members() {
		names = append(names, o.Name)
	}
	return names
}

func TestPoolOverTLS(t *testing.T) {
	prod := newAuthority(t, "prod")
	config := func(cluster string) Config {
		return Config{Name: "w0." + cluster, Identity: identity(t, prod, cluster, trust.Watcher)}
	}
	west := startMember(t, config("west"))
	seed := west.Addr().String()
	central := startMember(t, config("central"), seed)
	east := startMember(t, config("east"), seed)
	all := []*member{west, central, east}
	want := []string{"w0.central", "w0.east", "w0.west"}
	require.Eventually(t, func() bool {
		return !slices.ContainsFunc(all, func(m *member) bool { return !slices.Equal(m.names(), want) })
	}, patience, time.Millisecond)

	// A message to an open connection waits for no tick of memberlist's.
	warm := func(i int) time.Duration {
		text := fmt.Sprintf("message %d", i)
		begun := time.Now()
		require.NoError(t, central.Send("w0.east", []byte(text)))
		select {
		case got := <-east.messages:
			require.Equal(t, text, got)
		case <-time.After(patience):
			require.FailNow(t, "no message", east.logs.String())
		}
		return time.Since(begun)
	}
	warm(0)
	var took []time.Duration
	for i := range 100 {
		took = append(took, warm(i+1))
	}
	slices.Sort(took)
	t.Log("median", took[50], "the worst", took[len(took)-1])

	east.stop()
	require.Eventually(t, func() bool {
		return slices.Equal(west.names(), []string{"w0.central", "w0.west"})
	}, patience, time.Millisecond)
	require.NotContains(t, west.logs.String(), `msg="connection refused"`)

	// It comes back under its name, from another port.
	again := startMember(t, config("east"), seed)
	require.Eventually(t, func() bool {
		return slices.Equal(again.names(), want) && slices.Equal(west.names(), want) && slices.Equal(central.names(), want)
	}, patience, time.Millisecond)
}

func TestPoolSaysWhyItDoesNotJoin(t *testing.T) {
	prod, other := newAuthority(t, "prod"), newAuthority(t, "prod")
	west := startMember(t, Config{Name: "w0.west", Identity: identity(t, prod, "west", trust.Watcher)})
	east := startMember(t, Config{Name: "w0.east", Identity: identity(t, other, "east", trust.Watcher)}, west.Addr().String())
	require.Eventually(t, func() bool {
		return len(east.logs.String()) > 0
	}, patience, time.Millisecond)
	require.Contains(t, east.logs.String(), "does not chain to a trusted root")
	require.Equal(t, []string{"w0.east"}, east.names())
}
