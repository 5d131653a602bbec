package replica

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// given is an epoch store that answers what it likes.
type given struct {
	epoch uint64
	err   error
	asked int
}

func (g *given) NextEpoch(context.Context, uint64) (uint64, error) {
	g.asked++
	return g.epoch, g.err
}

// TestNoEpochIsLeft: a key that was stolen may have signed the last epoch.
// Nothing is published then that peers would refuse, and the store is not
// spoilt.
func TestNoEpochIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := alone(t, "east")
		p := r.NewPublisher()
		go func() { _ = r.Run(t.Context()) }()
		evil := records(t, service("evil", 1))
		h, _ := from(t, r.config.Identity, &wire.Head{Uid: "uid-east", Epoch: maxEpoch, Seq: 5}, evil)
		bring(t, r, h, evil)
		p.Update(whole("east", service("user", 3)))
		pass(time.Second)
		store := &given{epoch: maxEpoch + 1}
		require.ErrorIs(t, p.reign(t.Context(), store), errNoEpochLeft)
		require.Zero(t, store.asked)
		now, _ := r.store.get("east")
		require.Equal(t, h.version(), now.version())
	})
}

// TestEpochStoreThatLies: an epoch that does not lead on is not published
// under.
func TestEpochStoreThatLies(t *testing.T) {
	for what, store := range map[string]*given{
		"far ahead": {epoch: math.MaxUint64},
		"behind":    {epoch: 6},
		"the same":  {epoch: 7},
		"broken":    {err: errors.New("no quorum")},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := alone(t, "east")
				p := r.NewPublisher()
				go func() { _ = r.Run(t.Context()) }()
				before := records(t, service("user", 1))
				h, _ := from(t, r.config.Identity, &wire.Head{Uid: "uid-east", Epoch: 7, Seq: 5}, before)
				bring(t, r, h, before)
				p.Update(whole("east", service("user", 3)))
				pass(time.Second)
				require.Error(t, p.reign(t.Context(), store))
				require.Equal(t, 1, ready(r.config.Table, "user", "east"))
			})
		})
	}
}

// TestDeposedLeaderIsNotHeard: a leader that was stopped past its Lease goes on
// where it was, with changes and heartbeats, until it hears of its successor.
// Nobody who knows the successor takes any of it.
func TestDeposedLeaderIsNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		epochs := &counter{}
		stopped, next, peer := alone(t, "east"), alone(t, "east"), alone(t, "west")
		sent := watchers(1, 1)
		stopped.Attach(sent)
		taken := watchers(1, 1)
		next.Attach(taken)
		publishers := map[*Replica]*Publisher{}
		for _, r := range []*Replica{stopped, next} {
			go func() { _ = r.Run(t.Context()) }()
			p := r.NewPublisher()
			publishers[r] = p
			go func() { _ = p.Run(t.Context()) }()
			p.Update(whole("east", service("user", 3)))
			go func() { _ = p.Lead(t.Context(), epochs) }()
			pass(time.Second)
			h, _ := r.store.get("east")
			_, err := peer.store.expect("east", h.signed) // so that it knows both keys
			require.NoError(t, err)
		}
		deliver := func(to *Replica, n *recorded) {
			for _, s := range n.take() {
				to.HandleMessage("", s.msg)
			}
		}
		deliver(peer, taken)
		require.Equal(t, 3, ready(peer.config.Table, "user", "east"))
		var highest discovery.Version
		for i := range 5 { // it does not know yet
			publishers[stopped].Update(discovery.Update{Services: []*discovery.Service{service("user", uint32(i%3)), service("late", 1)}})
			pass(heartbeat)
			deliver(peer, sent)
			require.Equal(t, 3, ready(peer.config.Table, "user", "east"))
			require.Equal(t, -1, ready(peer.config.Table, "late", "east"))
			now, _ := peer.store.get("east")
			require.False(t, now.version().Less(highest))
			highest = now.version()
		}
		require.EqualValues(t, 2, highest.Epoch)

		// It hears, and as its Lease is gone it is not asked to lead again; the
		// head of its own epoch is the last that it ever signs.
		_, part := next.store.get("east")
		h, _ := next.store.get("east")
		bring(t, stopped, h, part)
		require.NoError(t, publishers[stopped].beat())
		require.ErrorIs(t, publishers[stopped].publishPending(1), errDeposed)
		now, _ := stopped.store.get("east")
		require.EqualValues(t, 2, now.Epoch)
	})
}

// TestEpochStoreLost: what peers still hold is what the next epoch follows.
func TestEpochStoreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := alone(t, "east")
		p := r.NewPublisher()
		go func() { _ = r.Run(t.Context()) }()
		before := records(t, service("user", 1))
		h, _ := from(t, r.config.Identity, &wire.Head{Uid: "uid-east", Epoch: 41, Seq: 5}, before)
		bring(t, r, h, before)
		p.Update(whole("east", service("user", 3)))
		go func() { _ = p.Lead(t.Context(), &counter{}) }()
		pass(time.Second)
		now, _ := r.store.get("east")
		require.Equal(t, discovery.Version{Epoch: 42, Seq: 2}, now.version())
		require.Equal(t, 3, ready(r.config.Table, "user", "east"))
	})
}
