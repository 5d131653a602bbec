package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// SubscriberConfig is what an agent's copy of the table needs.
type SubscriberConfig struct {
	Watchers    []string        // host:port of the own cluster's watchers; names are resolved at each connect
	Identity    *trust.Identity // an agent's, or a watcher's when both run in one process
	Table       *discovery.Table
	SnapshotDir string // where the copy on disk lies; "" keeps none
	Node        string // our node's name, for the watcher's log
	Limits      Limits // zero: DefaultLimits
	Logger      *slog.Logger
}

// Subscriber keeps an agent's table equal to its watcher's. It verifies all
// signatures itself: a watcher can withhold news but not make them up.
type Subscriber struct {
	config    SubscriberConfig
	log       *slog.Logger
	warner    *warner
	store     *store
	puller    *puller
	resumer   *resumer
	view      atomic.Pointer[View]
	gateways  agentGateways
	conn      atomic.Pointer[grpc.ClientConn] // of the current session
	connected atomic.Bool
	dirty     atomic.Bool // the table differs from the copy on disk
	patience  time.Duration
	forget    atomic.Int64 // a time.Duration
	tally     *tally
	room      int64 // octets that the copy on disk may take
}

// NewSubscriber makes a subscriber that does nothing before Run.
func NewSubscriber(c SubscriberConfig) (*Subscriber, error) {
	if len(c.Watchers) == 0 || c.Identity == nil || c.Table == nil {
		return nil, errors.New("subscriber: watchers, identity and table are required")
	}
	if c.Limits == (Limits{}) {
		c.Limits = DefaultLimits()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Subscriber{config: c, log: c.Logger, warner: newWarner(c.Logger), patience: patience, tally: newTally(), room: maxSnapshot}
	s.store = newStore(c.Identity, c.Identity.ID().Clusterset, c.Limits, c.Table, s.refuse)
	s.store.follows, s.store.log, s.store.omit = true, s.log, s.tally.refuse
	s.forget.Store(int64(DefaultForget))
	s.puller = newPullerFor(s.store)
	s.resumer = newResumer(s.store)
	s.puller.fetch, s.puller.giveUp, s.puller.full = s.fetch, hopeless, func() {}
	s.puller.took = func(*head) {
		s.tally.pulled("applied")
		s.dirty.Store(true)
	}
	s.puller.failed = func(cluster string, attempt int, err error) {
		s.tally.pulled("failed")
		if isRefusal(err) {
			s.tally.refuse(err)
		}
		s.warner.warn("part not pulled", "cluster", cluster, "attempt", attempt, "error", err)
	}
	return s, nil
}

// Table is the table that the subscriber fills.
func (s *Subscriber) Table() *discovery.Table { return s.config.Table }

// View is what the watcher last said of our own cluster, or the copy on disk;
// nil before either. The pointer is the same until the content changes.
func (s *Subscriber) View() *View { return s.view.Load() }

// Stale tells that no watcher is connected and in step, so that the table may
// be behind.
func (s *Subscriber) Stale() bool { return !s.connected.Load() }

// Heard is when a cluster was last heard of: when its head, with a later
// heartbeat or version, came over a stream that was in step, by this machine's
// monotonic clock. What a stream begins with doesn't count, nor does the copy on
// disk: nobody can say how old that is. So it is false for some seconds after
// the start, and goes on being so for a cluster that is silent.
func (s *Subscriber) Heard(cluster string) (time.Time, bool) { return s.store.heads.lastHeard(cluster) }

// Run streams from one watcher after another until ctx ends.
func (s *Subscriber) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.puller.run(ctx) })
	g.Go(func() error { return s.follow(ctx) })
	g.Go(func() error { return s.keep(ctx) })
	if s.config.SnapshotDir != "" {
		g.Go(func() error { return s.keepSnapshot(ctx) })
	}
	return g.Wait()
}

const (
	minReconnect = 100 * time.Millisecond
	maxReconnect = 5 * time.Second
	// patience is how long a watcher may take to have the whole table itself
	// before another one is tried. Many agents wait for a watcher that starts.
	patience = 15 * time.Second
	// steady is how long a session must have lasted for the next attempt to
	// follow without a growing pause.
	steady = 10 * time.Second
)

// follow holds a session with some watcher for as long as ctx lives.
func (s *Subscriber) follow(ctx context.Context) error {
	pause := minReconnect
	told := make(complaints)
	for ctx.Err() == nil {
		watchers := slices.Clone(s.config.Watchers)
		rand.Shuffle(len(watchers), func(i, j int) { watchers[i], watchers[j] = watchers[j], watchers[i] })
		for _, addr := range watchers {
			began := time.Now()
			err := s.session(ctx, addr)
			if ctx.Err() != nil {
				return nil
			}
			if time.Since(began) > steady {
				pause = minReconnect
				delete(told, addr)
			}
			if text := plainStatus(err).Error(); told.due(addr, text, time.Now()) {
				s.log.Warn("stream from watcher ended", "watcher", addr, "error", text)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, maxReconnect)
	}
	return nil
}

// session streams from one watcher until the stream ends.
func (s *Subscriber) session(ctx context.Context, addr string) error {
	conn, err := dial(s.config.Identity, target{addr: addr, cluster: s.ownCluster()})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		s.connected.Store(false)
		s.gateways.leave()
		s.conn.Store(nil)
		_ = conn.Close()
	}()
	stream, err := wire.NewReplicaClient(conn).Subscribe(s.recalling(ctx), &wire.SubscribeRequest{Node: s.config.Node})
	if err != nil {
		return err
	}
	s.conn.Store(conn)
	s.puller.forget() // this watcher may not have what another one told of
	impatient := time.AfterFunc(s.patience, cancel)
	defer impatient.Stop()
	synced := make(chan struct{})
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	waiting.Go(func() {
		select {
		case <-ctx.Done():
		case <-synced:
			s.becomeCurrent(ctx, addr)
		}
	})
	for first := true; ; {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if m.GetSynced() != nil && first {
			first = false
			impatient.Stop()
			close(synced)
		}
		if h := s.handle(m); h != nil && !first {
			s.store.heads.hear(h.Cluster)
		}
	}
}

// ownCluster is whose watcher must answer; "" in plaintext, where nobody has a
// name.
func (s *Subscriber) ownCluster() string {
	if s.config.Identity.Plaintext() {
		return ""
	}
	return s.config.Identity.ID().Cluster
}

// becomeCurrent waits for the pulls of the heads that the stream began with.
func (s *Subscriber) becomeCurrent(ctx context.Context, addr string) {
	if !s.puller.caughtUp(ctx) {
		return
	}
	s.config.Table.SetLoaded()
	s.connected.Store(true)
	s.dirty.Store(true)
	s.log.Info("table is current", "watcher", addr, "clusters", len(s.config.Table.Clusters()))
}

// handle takes a message. The head is returned if it was news.
func (s *Subscriber) handle(m *wire.StreamMessage) *head {
	s.tally.hear(time.Now())
	switch body := m.Body.(type) {
	case *wire.StreamMessage_Viewer:
		s.setView(body.Viewer)
	case *wire.StreamMessage_Announcement:
		return s.take(body.Announcement)
	case *wire.StreamMessage_Forget:
		s.store.forget(body.Forget.GetCluster())
		s.dirty.Store(true)
	case *wire.StreamMessage_GatewayStates:
		if err := s.gateways.take(body.GatewayStates, s.config.Limits); err != nil {
			s.refuse("", err)
		}
	}
	return nil
}

func (s *Subscriber) take(a *wire.Announcement) *head {
	h, result, err := s.store.accept(a)
	switch {
	case errors.Is(err, trust.ErrUnknownKey):
		claim := &wire.Head{}
		if unmarshalHead(a.GetHead(), claim) == nil {
			s.puller.want(claim.Cluster, discovery.Version{Epoch: claim.Epoch, Seq: claim.Seq})
		}
	case err != nil:
		s.refuse("", err)
	case result == gap:
		s.puller.want(h.Cluster, h.version())
	case result == applied:
		s.dirty.Store(true)
	}
	return h
}

func (s *Subscriber) fetch(ctx context.Context, cluster, _ string, _ int, base *part) (*pulled, error) {
	conn := s.conn.Load()
	if conn == nil {
		return nil, errNoSource
	}
	got, err := s.resumer.pull(ctx, conn, cluster, base)
	if err != nil {
		return nil, fmt.Errorf("pull of %s: %w", cluster, err)
	}
	return got, nil
}

// hopeless tells errors that asking our watcher again would only repeat. All
// others pass, and until they do the table is not whole.
func hopeless(_ int, err error) bool {
	return err != nil && isRefusal(err) || status.Code(err) == codes.NotFound
}

func (s *Subscriber) refuse(cluster string, err error) {
	s.tally.refuse(err)
	s.warner.refused(clip(cluster), err)
}
