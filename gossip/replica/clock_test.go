package replica

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// holding makes a watcher with real certificates, for use in a bubble or out of
// it.
func holding(t *testing.T, identity *trust.Identity) (*Replica, *recorded) {
	r, err := New(Config{Member: "w0." + identity.ID().Cluster, Identity: identity, Table: discovery.NewTable(), Viewer: View{Cluster: identity.ID().Cluster}})
	require.NoError(t, err)
	n := watchers(1, 1)
	r.Attach(n)
	return r, n
}

// TestClockYearsOff: a watcher whose clock is years behind or ahead of the
// dates in all certificates publishes, takes, beats and serves as one whose
// clock is right, and others take what it says.
func TestClockYearsOff(t *testing.T) {
	p := newPKI(t)
	westKey, eastKey, agentKey := p.identity("west", trust.Watcher), p.identity("east", trust.Watcher), p.identity("west", trust.Agent)
	realNow := time.Now()
	for what, off := range map[string]time.Duration{
		"right": 0, "behind": -26 * 365 * 24 * time.Hour, "ahead": 10 * 365 * 24 * time.Hour,
	} {
		t.Run(what, func(t *testing.T) {
			// East lives now, and says one thing before and one after.
			content, later := records(t, service("user", 1)), records(t, service("user", 2))
			first, _ := from(t, eastKey, &wire.Head{Uid: "u", Epoch: 3, Seq: 1}, content)
			_, beat := from(t, eastKey, &wire.Head{Uid: "u", Epoch: 3, Seq: 1, Heartbeat: 1}, content)
			second, msg := from(t, eastKey, &wire.Head{Uid: "u", Epoch: 3, Seq: 2, Heartbeat: 1}, later)

			var said []sent
			var last *wire.SignedHead
			synctest.Test(t, func(t *testing.T) {
				if begins := realNow.Add(off); what != "behind" { // a bubble begins in the year 2000
					time.Sleep(time.Until(begins))
				}
				west, network := holding(t, westKey)
				publisher := west.NewPublisher()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go func() { _ = west.Run(ctx) }()
				go func() { _ = publisher.Run(ctx) }()
				publisher.Update(whole("west", service("pay", 3)))
				go func() { _ = publisher.Lead(ctx, &counter{}) }()
				pass(time.Second)
				bring(t, west, first, content)
				west.HandleMessage("", beat)
				west.puller.fetch = func(context.Context, string, string, int, *part) (*pulled, error) {
					return (&owner{second, later}).answer(), nil
				}
				west.HandleMessage("", msg)
				pass(2*heartbeat + time.Second)
				require.Equal(t, 2, ready(west.config.Table, "user", "east"))
				publisher.Update(discovery.Update{Services: []*discovery.Service{service("pay", 2)}})
				pass(time.Second)

				s := unconnected(t, agentKey, "")
				for _, cluster := range []string{"west", "east"} {
					h, part := west.store.get(cluster)
					_, _, err := s.store.adopt(cluster, (&owner{h, part}).answer(), emptyPart)
					require.NoError(t, err)
				}
				require.Equal(t, 2, ready(s.Table(), "user", "east"))
				require.Equal(t, 2, ready(s.Table(), "pay", "west"))
				said = network.take()
				h, _ := west.store.get("west")
				last = h.signed
			})

			peer, _ := holding(t, eastKey)
			_, err := peer.store.expect("west", last) // with the chain, as a pull brings it
			require.NoError(t, err)
			var beats uint64
			for _, m := range said {
				peer.HandleMessage("w0.west", m.msg)
				if h, _ := peer.store.get("west"); h != nil {
					beats = h.Heartbeat
				}
			}
			require.Equal(t, 2, ready(peer.config.Table, "pay", "west"))
			h, _ := peer.store.get("west")
			require.Equal(t, last.Head, h.signed.Head)
			require.EqualValues(t, 2, beats)
		})
	}
}
