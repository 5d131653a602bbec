package replica

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// retirement of east by a certificate that was issued for it anew.
func retirement(p *pki, through *node) Retirement {
	return Retirement{Identity: p.identity("east", trust.Watcher), Watcher: through.peer.Addr}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestRetiredClusterIsGoneForAll(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	west.publisher.Update(whole("west", service("orders", 1)))
	west.lead(t, &counter{})
	east := n.start(t, p, "e0.east", "east")
	east.publisher.Update(whole("east", service("user", 3), service("pay", 1)))
	epochs := &counter{n: 6}
	east.lead(t, epochs)
	eventually(t, "west has it", func() bool { return ready(west.config.Table, "user", "east") == 3 })
	before, content := west.store.get("east")
	s, _ := agent(t, p.identity("west", trust.Agent), "", west.peer.Addr)
	eventually(t, "so has an agent", func() bool { return ready(s.Table(), "user", "east") == 3 && !s.Stale() })

	looked, err := retirement(p, west).Look(within(t))
	require.NoError(t, err)
	require.Equal(t, Retired{UID: "uid-east", Epoch: 7, Services: 2}, *looked)
	done, err := retirement(p, west).Do(within(t))
	require.NoError(t, err)
	require.Equal(t, Retired{UID: "uid-east", Epoch: 7 + retireStep, Services: 2}, *done)
	require.Equal(t, -1, ready(west.config.Table, "user", "east"), "at once")
	require.Len(t, west.config.Table.Clusters(), 1)
	eventually(t, "the agent", func() bool { return ready(s.Table(), "user", "east") == -1 && len(s.Table().Clusters()) == 1 })

	var ended error
	eventually(t, "its own watcher stops", func() bool {
		select {
		case ended = <-east.ended:
			return true
		default:
			return false
		}
	})
	require.ErrorIs(t, ended, ErrRetired)
	require.ErrorContains(t, ended, "isthmus retire east --undo")
	require.False(t, east.Ready())

	// Replays, by message and by pull, and what a watcher that was cut off has
	// published meanwhile.
	_, result, err := west.store.accept(&wire.Announcement{Head: before.signed})
	require.NoError(t, err)
	require.Equal(t, old, result)
	_, result, err = west.store.adopt("east", &pulled{head: before.signed, buckets: allBuckets(), items: listOf(content)}, emptyPart)
	require.NoError(t, err)
	require.Equal(t, old, result)
	late, _ := from(t, p.identity("east", trust.Watcher), &wire.Head{Uid: "uid-east", Epoch: 99, Seq: 1}, content)
	_, result, err = west.store.accept(&wire.Announcement{Head: late.signed})
	require.NoError(t, err)
	require.Equal(t, old, result)

	done, err = retirement(p, west).Do(within(t))
	require.NoError(t, err)
	require.True(t, done.Already, "twice is once")

	// One that was away learns it from any peer.
	away := n.start(t, p, "c0.central", "central")
	bring(t, away.Replica, before, content)
	require.Equal(t, 3, ready(away.config.Table, "user", "east"))
	eventually(t, "by pull", func() bool { exchange(away, west); return ready(away.config.Table, "user", "east") == -1 })
}

func listOf(p *part) (items []item) {
	for _, b := range p.buckets {
		items = append(items, b.all()...)
	}
	return items
}

// TestRetiredClusterComesBackOnPurpose: not by a restart, but by a head that
// says so.
func TestRetiredClusterComesBackOnPurpose(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	east := n.start(t, p, "e0.east", "east")
	epochs := &counter{}
	east.publisher.Update(whole("east", service("user", 3)))
	east.lead(t, epochs)
	eventually(t, "west has it", func() bool { return ready(west.config.Table, "user", "east") == 3 })
	_, err := retirement(p, west).Do(within(t))
	require.NoError(t, err)
	east.stop()
	n.mu.Lock()
	delete(n.nodes, "e0.east")
	n.mu.Unlock()

	again := n.startExpecting(t, p, "e1.east", "east")
	again.publisher.Update(whole("east", service("user", 2)))
	again.lead(t, epochs)
	var ended error
	eventually(t, "a restart does not bring it back", func() bool {
		exchange(again, west)
		select {
		case ended = <-again.ended:
			return true
		default:
			return false
		}
	})
	require.ErrorIs(t, ended, ErrRetired)
	require.Equal(t, -1, ready(west.config.Table, "user", "east"))
	again.stop()
	n.mu.Lock()
	delete(n.nodes, "e1.east")
	n.mu.Unlock()

	m := retirement(p, west)
	m.Undo = true
	done, err := m.Do(within(t))
	require.NoError(t, err)
	require.False(t, done.Already)
	back := n.startExpecting(t, p, "e2.east", "east")
	back.publisher.Update(whole("east", service("user", 1)))
	exchange(back, west)
	back.lead(t, epochs)
	eventually(t, "it is back", func() bool { exchange(back, west); return ready(west.config.Table, "user", "east") == 1 })
}

// TestRebuiltClusterTakesTheName: a cluster with another uid, that knows
// nothing of the one before.
func TestRebuiltClusterTakesTheName(t *testing.T) {
	for _, hears := range []string{"before it publishes", "after it published"} {
		t.Run(hears, func(t *testing.T) {
			p, n := newPKI(t), &network{}
			west := n.start(t, p, "w0.west", "west")
			lost := owns(t, "east", &wire.Head{Uid: "uid-lost", Epoch: 40, Seq: 7}, service("user", 3))
			lost.head, _ = from(t, p.identity("east", trust.Watcher), lost.head.Head, lost.content)
			bring(t, west.Replica, lost.head, lost.content)
			_, err := retirement(p, west).Do(within(t))
			require.NoError(t, err)

			east := n.start(t, p, "e0.east", "east")
			if hears == "before it publishes" {
				eventually(t, "hears", func() bool { exchange(east, west); return east.store.heads.get("east") != nil })
				require.False(t, east.Ready(), "that is not its own part")
			}
			update := whole("east", service("user", 1))
			update.Cluster.UID = "uid-rebuilt"
			east.publisher.Update(update)
			east.lead(t, &counter{})
			eventually(t, "accepted", func() bool {
				exchange(east, west)
				// The head is set after the table.
				return ready(west.config.Table, "user", "east") == 1 && west.store.heads.get("east").Uid == "uid-rebuilt"
			})
			require.Empty(t, east.ended)
			require.Equal(t, 1, ready(east.config.Table, "user", "east"))
			_, _, err = west.store.accept(lost.announcement())
			require.ErrorIs(t, err, errCloned)
			require.Equal(t, 1, ready(west.config.Table, "user", "east"))
		})
	}
}

func TestOnlyTheClusterItselfCanRetireIt(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	east := owns(t, "east", &wire.Head{Uid: "u", Epoch: 1, Seq: 1}, service("user", 3))
	east.head, _ = from(t, p.identity("east", trust.Watcher), east.head.Head, east.content)
	bring(t, west.Replica, east.head, east.content)
	mark := &wire.Head{Clusterset: "test", Cluster: "east", Uid: "u", Epoch: 9, Seq: 1, Root: emptyPart.root[:], Retired: true}
	for who, identity := range map[string]*trust.Identity{
		"another cluster's watcher": p.identity("central", trust.Watcher),
		"its agent":                 p.identity("east", trust.Agent),
		"another root":              newPKI(t).identity("east", trust.Watcher),
	} {
		t.Run(who, func(t *testing.T) {
			h, err := sign(identity, mark)
			require.NoError(t, err)
			conn := connected(t, p.identity("central", trust.Watcher), target{addr: west.peer.Addr})
			_, err = wire.NewReplicaClient(conn).Announce(within(t), &wire.AnnounceRequest{Announcement: &wire.Announcement{Head: h.signed}})
			require.Equal(t, codes.FailedPrecondition, status.Code(err), err)
			require.Equal(t, 3, ready(west.config.Table, "user", "east"))
		})
	}
	t.Run("agents announce nothing", func(t *testing.T) {
		h, err := sign(p.identity("east", trust.Watcher), mark)
		require.NoError(t, err)
		conn := connected(t, p.identity("west", trust.Agent), target{addr: west.peer.Addr})
		_, err = wire.NewReplicaClient(conn).Announce(within(t), &wire.AnnounceRequest{Announcement: &wire.Announcement{Head: h.signed}})
		require.Equal(t, codes.PermissionDenied, status.Code(err))
		_, err = wire.NewReplicaClient(connected(t, p.identity("central", trust.Watcher), target{addr: west.peer.Addr})).Announce(within(t), &wire.AnnounceRequest{})
		require.Equal(t, codes.InvalidArgument, status.Code(err))
	})
	t.Run("nothing to retire", func(t *testing.T) {
		m := Retirement{Identity: p.identity("north", trust.Watcher), Watcher: west.peer.Addr}
		_, err := m.Do(within(t))
		require.ErrorIs(t, err, ErrUnknownCluster)
	})
	t.Run("a mark with items", func(t *testing.T) {
		h, _ := from(t, p.identity("east", trust.Watcher), &wire.Head{Uid: "u", Epoch: 9, Seq: 1, Retired: true}, east.content)
		_, _, err := west.store.accept(&wire.Announcement{Head: h.signed})
		require.ErrorIs(t, err, errMalformed)
	})
}

// TestTombstoneIsOnDisk: an agent that restarts keeps older heads out.
func TestTombstoneIsOnDisk(t *testing.T) {
	p := newPKI(t)
	identity, dir := p.identity("west", trust.Agent), t.TempDir()
	load := func() *Subscriber {
		s, err := NewSubscriber(SubscriberConfig{Watchers: []string{"x:1"}, Identity: identity, Table: discovery.NewTable(), SnapshotDir: dir})
		require.NoError(t, err)
		require.NoError(t, s.Restore())
		return s
	}
	s := load()
	content := records(t, service("user", 1))
	before, _ := from(t, p.identity("east", trust.Watcher), &wire.Head{Uid: "u", Epoch: 3, Seq: 1}, content)
	s.take(&wire.Announcement{Head: before.signed})
	mark, _ := from(t, p.identity("east", trust.Watcher), &wire.Head{Uid: "u", Epoch: 4, Seq: 1, Retired: true}, emptyPart)
	s.take(&wire.Announcement{Head: mark.signed})
	require.NoError(t, s.save(&View{Cluster: "west"}))
	s = load()
	require.True(t, s.store.heads.get("east").Retired)
	require.Empty(t, s.Table().Clusters())
	_, result, err := s.store.accept(&wire.Announcement{Head: before.signed})
	require.NoError(t, err)
	require.Equal(t, old, result)
}

// TestAnnouncementsCountAgainstTheShare: a cluster that announces without end is
// bounded like one that pulls without end.
func TestAnnouncementsCountAgainstTheShare(t *testing.T) {
	p := newPKI(t)
	encoded, _, err := p.authority.Issue(trust.ID{Clusterset: "test", Cluster: "evil", Role: trust.Watcher}, time.Hour)
	require.NoError(t, err)
	block, _ := pem.Decode(encoded)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	ctx := peer.NewContext(t.Context(), &peer.Peer{AuthInfo: credentials.TLSInfo{State: state}})
	r, _ := holding(t, p.identity("west", trust.Watcher))
	s := &server{replica: r, shares: newShares("west"), pulls: make(chan struct{}, servedPulls)}
	allowed := 0
	for range 2 * pullBurst {
		_, err := s.Announce(ctx, &wire.AnnounceRequest{Announcement: &wire.Announcement{}})
		if status.Code(err) != codes.ResourceExhausted {
			allowed++
		}
	}
	require.Less(t, allowed, 2*pullBurst)
	require.Empty(t, s.pulls)
}

// TestOneWhoMissedTheUndo: a watcher of the cluster that has heard of the
// retirement only, from its agents for instance, publishes above both. Under the
// version of the undo it would be refused as its double.
func TestOneWhoMissedTheUndo(t *testing.T) {
	p := newPKI(t)
	m := Retirement{Identity: p.identity("east", trust.Watcher)}
	first, _ := from(t, m.Identity, &wire.Head{Uid: "uid-east", Epoch: 7, Seq: 3}, records(t, service("user", 1)))
	retired, err := m.successor(first)
	require.NoError(t, err)
	m.Undo = true
	undone, err := m.successor(retired)
	require.NoError(t, err)
	require.True(t, undone.newerThan(retired))
	require.True(t, undone.version().Less(discovery.Version{Epoch: retired.Epoch + 1, Seq: 1}), "undone at %v", undone.version())
}
