package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// answers is a source that is asked a second time.
type answers struct {
	mu      sync.Mutex
	err     error
	gone    []discovery.Key // of the last question
	emptied []discovery.Key
	asked   int
}

func (a *answers) Confirm(_ context.Context, gone, emptied []discovery.Key) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	a.gone, a.emptied = gone, emptied
	return a.err
}

// guarded is a watcher that leads, in a bubble.
type guarded struct {
	*Replica
	t         *testing.T
	publisher *Publisher
	source    answers
	log       logged
}

// logged is what a leader says while a test reads it.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// guard starts a leader that has published so many services, with their
// publication long past.
func startGuarded(t *testing.T, services int) *guarded {
	g := &guarded{t: t}
	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "east", Role: trust.Watcher})
	require.NoError(t, err)
	g.Replica, err = New(Config{Member: "w0.east", Identity: identity, Table: discovery.NewTable(), Logger: slog.New(slog.NewTextHandler(&g.log, nil))})
	require.NoError(t, err)
	g.publisher = g.NewPublisher()
	g.publisher.ConfirmWith(&g.source)
	go func() { _ = g.Run(t.Context()) }()
	g.publisher.Update(whole("east", numbered(0, services)...))
	return g
}

func (g *guarded) lead() (stop func()) {
	ctx, cancel := context.WithCancel(g.t.Context())
	go func() { _ = g.publisher.Lead(ctx, &counter{}) }()
	pass(time.Minute)
	return cancel
}

func numbered(from, to int) (out []*discovery.Service) {
	for i := from; i < to; i++ {
		out = append(out, service(fmt.Sprint("s", i), 1))
	}
	return out
}

func keysOf(services []*discovery.Service) (out []discovery.Key) {
	for _, s := range services {
		out = append(out, s.Key())
	}
	return out
}

func (g *guarded) remove(from, to int) {
	g.publisher.Update(discovery.Update{Removed: keysOf(numbered(from, to))})
}

// published is how many services the table shows; held what the gauge does.
func (g *guarded) published() int {
	for _, c := range g.config.Table.Clusters() {
		if c.Cluster.Name == g.cluster {
			return c.Services
		}
	}
	return 0
}

func (g *guarded) held() int {
	var m dto.Metric
	require.NoError(g.t, g.metrics.held.Write(&m))
	return int(m.GetGauge().GetValue())
}

func (g *guarded) said(text string) int {
	g.log.mu.Lock()
	defer g.log.mu.Unlock()
	return strings.Count(g.log.text.String(), text)
}

// last is how many questions there were, and what the last one was about.
func (a *answers) last() (asked int, gone, emptied []discovery.Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked, slices.Sorted(slices.Values(a.gone)), a.emptied
}

func (a *answers) say(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

func (a *answers) times() int {
	n, _, _ := a.last()
	return n
}

const heldLine = "most services seem to be gone"

func TestMostServicesDontGoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGuarded(t, 30)
		g.lead()
		g.remove(0, 25)
		g.publisher.Update(discovery.Update{Services: append(numbered(40, 41), service("s27", 2))})
		pass(time.Second)
		require.Equal(t, 31, g.published(), "additions go on")
		require.Equal(t, 2, ready(g.config.Table, "s27", "east"), "and changes")
		require.Equal(t, 25, g.held())
		require.Equal(t, 1, g.said(heldLine))
		require.Equal(t, 1, g.said("lost=25 of=30"))

		pass(guardTime - 2*time.Second)
		require.Zero(t, g.source.times())
		require.Equal(t, 31, g.published())
		pass(2 * time.Second)
		require.Equal(t, 1, g.source.times())
		_, lost, _ := g.source.last()
		require.Equal(t, slices.Sorted(slices.Values(keysOf(numbered(0, 25)))), lost)
		require.Equal(t, 6, g.published(), "confirmed")
		require.Zero(t, g.held())

		g.remove(25, 30)
		pass(time.Second)
		require.Equal(t, 1, g.published(), "few are not guarded, and what was confirmed does not count again")
		require.Equal(t, 1, g.said(heldLine))
	})
}

func TestFewOrHalfGoAtOnce(t *testing.T) {
	for _, tt := range []struct{ services, gone int }{{19, 19}, {20, 10}, {100, 50}} {
		synctest.Test(t, func(t *testing.T) {
			g := startGuarded(t, tt.services)
			g.lead()
			g.remove(0, tt.gone)
			pass(time.Second)
			require.Equal(t, tt.services-tt.gone, g.published())
			require.Zero(t, g.held())
		})
	}
}

// TestLossInPieces: a source tells of one event in as many updates as it likes.
func TestLossInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGuarded(t, 100)
		g.lead()
		for i := range 90 {
			g.remove(i, i+1)
			pass(200 * time.Millisecond)
		}
		require.Equal(t, 50, g.published())
		require.Equal(t, 40, g.held())
		require.Equal(t, 1, g.said(heldLine))
		pass(guardTime)
		require.Equal(t, 10, g.published())
	})
}

// TestOneServiceThatFlapsIsNotMany: it is the number of services that counts.
func TestOneServiceThatFlapsIsNotMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGuarded(t, 20)
		g.lead()
		for range 40 {
			g.remove(0, 1)
			pass(200 * time.Millisecond)
			require.Equal(t, 19, g.published())
			g.publisher.Update(discovery.Update{Services: numbered(0, 1)})
			pass(200 * time.Millisecond)
			require.Equal(t, 20, g.published())
		}
	})
}

// TestServicesThatComeBackWereNeverGone: not even the last of them.
func TestServicesThatComeBackWereNeverGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGuarded(t, 30)
		g.lead()
		before, _ := g.store.get("east")
		g.remove(0, 30)
		for i := range 30 {
			pass(500 * time.Millisecond)
			require.Equal(t, 30, g.published())
			g.publisher.Update(discovery.Update{Services: numbered(i, i+1)})
		}
		pass(time.Second)
		require.Zero(t, g.held())
		require.Equal(t, 1, g.said("are back"))
		pass(2 * guardTime)
		require.Zero(t, g.source.times())
		after, _ := g.store.get("east")
		require.Equal(t, before.version(), after.version(), "nobody has heard of it")
	})
}

func TestUnconfirmedLossStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGuarded(t, 30)
		g.lead()
		g.source.say(errors.New("s3.production is still there"))
		g.remove(0, 25)
		pass(10 * time.Minute)
		require.Equal(t, 30, g.published())
		require.Equal(t, 1, g.said("not confirmed"), "once while the reason is the same")
		require.Greater(t, g.source.times(), 10)
		g.source.say(nil)
		pass(confirmPause)
		require.Equal(t, 5, g.published())
	})
}

// TestNewLeaderKnowsFewServices: what counts is what the cluster has published,
// whoever did; an API server that was restored empty is read by a new process.
func TestNewLeaderKnowsFewServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGuarded(t, 3)
		before := records(t, numbered(0, 30)...)
		h, _ := from(t, g.config.Identity, &wire.Head{Uid: "uid-east", Epoch: 7, Seq: 5}, before)
		bring(t, g.Replica, h, before)
		stop := g.lead()
		require.Equal(t, 3, g.published(), "confirmed after a minute")
		require.Equal(t, 1, g.source.times())
		stop()
	})
	synctest.Test(t, func(t *testing.T) {
		g := startGuarded(t, 3)
		before := records(t, numbered(0, 30)...)
		h, _ := from(t, g.config.Identity, &wire.Head{Uid: "uid-east", Epoch: 7, Seq: 5}, before)
		bring(t, g.Replica, h, before)
		g.source.say(errors.New("no answer"))
		stop := g.lead()
		require.Equal(t, 30, g.published())
		now, _ := g.store.get("east")
		require.EqualValues(t, 8, now.Epoch, "the new leader publishes all the same")
		stop()
		pass(time.Second)
		g.lead()
		require.Equal(t, 30, g.published(), "nor does the next one")
		require.Equal(t, 27, g.held())
	})
}

// TestEndpointsThatVanishTogether: where slices are gone before their
// services are, no record is emptied either.
func TestEndpointsThatVanishTogether(t *testing.T) {
	bare := func(n int) (out []*discovery.Service) {
		for _, s := range numbered(0, n) {
			s.Counts = nil
			out = append(out, s)
		}
		return out
	}
	synctest.Test(t, func(t *testing.T) {
		g := startGuarded(t, 30)
		g.lead()
		g.publisher.Update(discovery.Update{Services: bare(30)})
		pass(time.Second)
		require.Equal(t, 1, ready(g.config.Table, "s7", "east"))
		require.Equal(t, 30, g.held())
		pass(guardTime)
		_, lost, bareOnes := g.source.last()
		require.Len(t, bareOnes, 30)
		require.Empty(t, lost)
		require.Equal(t, 0, ready(g.config.Table, "s7", "east"))
	})
	synctest.Test(t, func(t *testing.T) {
		g := startGuarded(t, 30)
		g.lead()
		var down []*discovery.Service
		for i := range 30 {
			down = append(down, service(fmt.Sprint("s", i), 0))
		}
		g.publisher.Update(discovery.Update{Services: down})
		pass(time.Second)
		require.Equal(t, 0, ready(g.config.Table, "s7", "east"), "Pods that fail are believed at once")
		g.publisher.Update(discovery.Update{Services: bare(30)})
		pass(time.Second)
		require.Zero(t, g.held(), "and that they go afterwards")
	})
}

// TestEndpointsThatVanishOneByOne: services that are emptied in many updates
// are counted together, too, also when a source tells of one again.
func TestEndpointsThatVanishOneByOne(t *testing.T) {
	for what, again := range map[string]bool{"once each": false, "told again": true} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := startGuarded(t, 100)
				g.lead()
				for i := range 90 {
					s := numbered(i, i+1)
					s[0].Counts = nil
					g.publisher.Update(discovery.Update{Services: s})
					pass(200 * time.Millisecond)
					if again {
						g.publisher.Update(discovery.Update{Services: s})
						pass(100 * time.Millisecond)
					}
				}
				require.Equal(t, 40, g.held())
				require.Equal(t, 0, ready(g.config.Table, "s49", "east"))
				require.Equal(t, 1, ready(g.config.Table, "s50", "east"))
			})
		})
	}
}
