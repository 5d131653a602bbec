package replica

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// owner publishes one version of a cluster's part.
type owner struct {
	head    *head
	content *part
}

func owns(t testing.TB, cluster string, w *wire.Head, services ...*discovery.Service) *owner {
	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: cluster, Role: trust.Watcher})
	require.NoError(t, err)
	content := records(t, services...)
	h, _ := from(t, identity, w, content)
	return &owner{h, content}
}

// answer is what a peer that has the part sends.
func (o *owner) answer() *pulled {
	got := &pulled{head: o.head.signed, buckets: allBuckets()}
	for _, b := range o.content.buckets {
		if b != nil {
			got.items = append(got.items, b.all()...)
		}
	}
	return got
}

func (o *owner) announcement() *wire.Announcement { return &wire.Announcement{Head: o.head.signed} }

// fetching makes a replica whose pulls are answered by a function.
func fetching(t *testing.T, fetch func(ctx context.Context, cluster, hint string, attempt int) (*pulled, error)) *Replica {
	r := alone(t, "west")
	r.puller.fetch = func(ctx context.Context, cluster, hint string, attempt int, _ *part) (*pulled, error) {
		return fetch(ctx, cluster, hint, attempt)
	}
	return r
}

func running(t *testing.T, p *puller) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// pass lets time go by in a bubble, and what it starts come to rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var v1 = discovery.Version{Epoch: 1, Seq: 1}

// TestAgentWaitsForEveryPart: an agent that can't pull a part, because its
// watcher has too much to do or the link is slow, must not answer as if the
// names of that part did not exist.
func TestAgentWaitsForEveryPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1}, service("user", 3))
		spoilt := owns(t, "spoilt", &wire.Head{Epoch: 1, Seq: 1}, service("user", 1))
		identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "west", Role: trust.Agent})
		require.NoError(t, err)
		s, err := NewSubscriber(SubscriberConfig{Watchers: []string{"w"}, Identity: identity, Table: discovery.NewTable()})
		require.NoError(t, err)
		tries := 0
		s.puller.fetch = func(_ context.Context, cluster, _ string, _ int, _ *part) (*pulled, error) {
			if cluster == "spoilt" { // no agent can take it: that harms nobody else
				return &pulled{head: spoilt.head.signed, buckets: allBuckets()}, nil
			}
			if tries++; tries < 3*pullAttempts {
				return nil, status.Error(codes.ResourceExhausted, "too many pulls at once")
			}
			return east.answer(), nil
		}
		running(t, s.puller)
		s.take(east.announcement())
		s.take(spoilt.announcement())
		go s.becomeCurrent(t.Context(), "w")
		pass(2 * pullAttempts * maxPullPause / 3)
		require.False(t, s.Table().Loaded(), "a part is missing")
		pass(3 * pullAttempts * maxPullPause)
		require.True(t, s.Table().Loaded())
		require.False(t, s.Stale())
		require.Equal(t, 3, ready(s.Table(), "user", "east"))
		require.Equal(t, -1, ready(s.Table(), "user", "spoilt"))
	})
}

// TestANewSessionForgetsWhatTheLastOneTold: a version that died with the
// watcher that told of it must not keep the agent waiting.
func TestANewSessionForgetsWhatTheLastOneTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1}, service("user", 3))
		r := fetching(t, func(ctx context.Context, cluster, _ string, _ int) (*pulled, error) {
			time.Sleep(time.Second)
			return east.answer(), nil
		})
		r.puller.giveUp = hopeless
		running(t, r.puller)
		for _, at := range []time.Duration{time.Second / 2, 3 * time.Second / 2} { // in a pull, and between two
			r.puller.want("east", discovery.Version{Epoch: 1, Seq: 9})
			pass(at)
			r.puller.forget()
			r.puller.want("east", v1)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			require.True(t, r.puller.caughtUp(ctx))
			cancel()
			pass(time.Minute)
			require.Empty(t, r.puller.wants)
		}
	})
}

// TestWaitingEndsWhileNewsGoOn: a cluster that is wanted newer all the time
// does not keep those waiting who want what it had when they came.
func TestWaitingEndsWhileNewsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seq := uint64(1)
		var r *Replica
		r = fetching(t, func(context.Context, string, string, int) (*pulled, error) {
			o := owns(t, "east", &wire.Head{Epoch: 1, Seq: seq}, service("user", uint32(seq%3)))
			seq++
			r.puller.want("east", discovery.Version{Epoch: 1, Seq: seq})
			return o.answer(), nil
		})
		r.puller.want("east", v1)
		running(t, r.puller)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.True(t, r.puller.caughtUp(ctx))
		pass(10 * time.Second)
		require.InDelta(t, 100, float64(seq), 20, "pulled again and again, but not in a tight loop")
	})
}

// TestClaimsDontDelayWhatIsProven: a peer that claims versions that nobody has
// earns them some attempts, however often it raises them, and slows nothing
// down that a signature vouches for.
func TestClaimsDontDelayWhatIsProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1}, service("user", 3))
		var r *Replica
		claimed, tries := uint64(1<<20), 0
		r = fetching(t, func(ctx context.Context, cluster, hint string, _ int) (*pulled, error) {
			tries++
			if hint == "evil" {
				claimed++
				r.puller.wantClaimed("east", discovery.Version{Epoch: claimed}, "evil")
				return nil, errors.New("not here")
			}
			return east.answer(), nil
		})
		running(t, r.puller)
		r.puller.wantClaimed("east", discovery.Version{Epoch: claimed}, "evil")
		pass(2 * time.Second)
		require.True(t, r.puller.want("east", v1), "what is proven is news")
		pass(time.Millisecond)
		require.Equal(t, 3, ready(r.config.Table, "user", "east"), "at once")
		require.Empty(t, r.puller.wants)

		tries = 0
		r.puller.wantClaimed("east", discovery.Version{Epoch: claimed}, "evil")
		pass(pullAttempts * maxPullPause)
		require.Equal(t, pullAttempts, tries)
		require.Empty(t, r.puller.wants)
	})
}

// TestClaimsLeaveRoom: neither the table of wants nor the pulls at work can be
// filled with claims.
func TestClaimsLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1}, service("user", 3))
		var hanging, most atomic.Int32
		r := fetching(t, func(ctx context.Context, cluster, _ string, _ int) (*pulled, error) {
			if cluster == "east" {
				return east.answer(), nil
			}
			most.Store(max(most.Load(), hanging.Add(1)))
			defer hanging.Add(-1)
			<-ctx.Done()
			return nil, ctx.Err()
		})
		running(t, r.puller)
		for i := range 2 * r.config.Limits.Clusters {
			r.puller.wantClaimed(fmt.Sprint("fake-", i), v1, "evil")
		}
		require.Len(t, r.puller.wants, r.config.Limits.Clusters)
		synctest.Wait()
		require.True(t, r.puller.want("east", v1))
		synctest.Wait()
		require.Equal(t, 3, ready(r.config.Table, "user", "east"))
		require.EqualValues(t, claimedPulls, most.Load())
	})
}

// TestNewPeersEndThePause: who comes may have the part.
func TestNewPeersEndThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1}, service("user", 3))
		here := false
		r := fetching(t, func(context.Context, string, string, int) (*pulled, error) {
			if !here {
				return nil, errNoSource
			}
			return east.answer(), nil
		})
		running(t, r.puller)
		r.puller.want("east", v1)
		pass(5 * time.Second) // some pauses on, and in the middle of one
		here = true
		r.PeersChanged()
		synctest.Wait()
		require.Equal(t, 3, ready(r.config.Table, "user", "east"))
	})
}

// TestHintGoesWithItsVersion: who claimed an older version is not asked first
// for a newer one.
func TestHintGoesWithItsVersion(t *testing.T) {
	r := alone(t, "west")
	r.puller.wantClaimed("east", v1, "old.east")
	r.puller.wantClaimed("east", discovery.Version{Epoch: 1, Seq: 2}, "new.east")
	require.Equal(t, "new.east", r.puller.wants["east"].hint)
	r.puller.wantClaimed("east", v1, "old.east")
	require.Equal(t, "new.east", r.puller.wants["east"].hint)
	r.puller.want("east", discovery.Version{Epoch: 1, Seq: 3})
	require.Empty(t, r.puller.wants["east"].hint)
}

// TestNewsIsPulledFromItsOrigin: a new leader that tells of its first version is
// asked for it before its sibling, which may be the leader that froze. Whoever
// only passes news on may not have it yet, and is not preferred.
func TestNewsIsPulledFromItsOrigin(t *testing.T) {
	for sender, hint := range map[string]string{"e1.east": "e1.east", "c0.central": ""} {
		r := alone(t, "west")
		east := alone(t, "east")
		_, msg := from(t, east.config.Identity, &wire.Head{Uid: "uid-east", Epoch: 2, Seq: 5}, records(t, service("user", 1)))
		r.HandleMessage(sender, msg)
		require.NotNil(t, r.puller.wants["east"])
		require.Equal(t, hint, r.puller.wants["east"].hint, "told by %s", sender)
	}
}

// TestDeniedPartIsNotPulledAgain: a cluster that is denied while it is pulled is
// wanted no longer.
func TestDeniedPartIsNotPulledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1}, service("user", 1))
		var r *Replica
		pulls := 0
		r = fetching(t, func(context.Context, string, string, int) (*pulled, error) {
			pulls++
			require.NoError(t, r.SetImport(Import{Deny: []string{"east"}}))
			return o.answer(), nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = r.puller.run(ctx) }()
		r.puller.want("east", o.head.version())
		require.True(t, r.puller.caughtUp(ctx))
		require.Equal(t, 1, pulls)
		cancel()
		synctest.Wait()
	})
}

// TestMembersThatComeAllTheTimeDontUseUpAttempts: who comes may have what others
// could not give, but where hundreds come one after another the attempts must
// not be spent within a moment, and the part be taken for one that nobody has.
func TestMembersThatComeAllTheTimeDontUseUpAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east, tries := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1}, service("user", 3)), atomic.Int64{}
		busy := time.Now().Add(3 * time.Second)
		r := fetching(t, func(context.Context, string, string, int) (*pulled, error) {
			tries.Add(1)
			if time.Now().Before(busy) {
				return nil, status.Error(codes.ResourceExhausted, "too many pulls at once")
			}
			return east.answer(), nil
		})
		running(t, r.puller)
		r.puller.wantClaimed("east", v1, "")
		for range 200 {
			pass(20 * time.Millisecond)
			r.PeersChanged()
		}
		require.LessOrEqual(t, tries.Load(), int64(pullAttempts))
		require.Equal(t, 3, ready(r.config.Table, "user", "east"))
	})
}
