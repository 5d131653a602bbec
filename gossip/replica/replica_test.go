package replica

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

func TestChangesReachOtherClusters(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	east := n.start(t, p, "e0.east", "east")
	east.publisher.Update(whole("east", service("user", 3)))
	east.lead(t, &counter{})
	table := west.config.Table
	eventually(t, "first publication", func() bool { return ready(table, "user", "east") == 3 })

	east.publisher.Update(discovery.Update{Services: []*discovery.Service{service("user", 0), service("pay", 1)}})
	eventually(t, "a change", func() bool { return ready(table, "user", "east") == 0 && ready(table, "pay", "east") == 1 })

	east.publisher.Update(discovery.Update{Removed: []discovery.Key{"user.production"}})
	eventually(t, "a removal", func() bool { return ready(table, "user", "east") == -1 })
	require.Equal(t, 1, ready(table, "pay", "east"))

	west.publisher.Update(whole("west", service("pay", 2)))
	west.lead(t, &counter{})
	eventually(t, "the other way", func() bool { return ready(east.config.Table, "pay", "west") == 2 })
	require.Equal(t, 1, ready(east.config.Table, "pay", "east"))
}

func TestLostMessagesAreRepairedByPull(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	east := n.start(t, p, "e0.east", "east")
	var services []*discovery.Service
	for i := range 500 {
		services = append(services, service(name(i), 1))
	}
	n.mu.Lock()
	n.cut["w0.west"] = true
	n.mu.Unlock()
	east.publisher.Update(whole("east", services...))
	east.lead(t, &counter{})
	eventually(t, "own table", func() bool { return ready(east.config.Table, name(499), "east") == 1 })
	require.Empty(t, west.config.Table.Clusters())

	eventually(t, "pull", func() bool {
		exchange(west, east) // digests only: the pull brings the records
		return ready(west.config.Table, name(499), "east") == 1
	})
	_, a := east.store.get("east")
	_, b := west.store.get("east")
	require.Equal(t, a.root, b.root)
	require.Equal(t, 501, b.items)
}

func TestPullFromAThirdCluster(t *testing.T) {
	p, n := newPKI(t), &network{}
	east := n.start(t, p, "e0.east", "east")
	central := n.start(t, p, "c0.central", "central")
	east.publisher.Update(whole("east", service("user", 3)))
	east.lead(t, &counter{})
	eventually(t, "central", func() bool { return ready(central.config.Table, "user", "east") == 3 })
	east.stop()
	n.mu.Lock()
	delete(n.nodes, "e0.east")
	n.mu.Unlock()

	west := n.start(t, p, "w0.west", "west")
	eventually(t, "east's part from central", func() bool { exchange(west, central); return ready(west.config.Table, "user", "east") == 3 })
}

func TestEpochOutranksAnEarlierLeader(t *testing.T) {
	p, n := newPKI(t), &network{}
	epochs := &counter{}
	a := n.start(t, p, "e0.east", "east")
	b := n.start(t, p, "e1.east", "east")
	west := n.start(t, p, "w0.west", "west")
	a.publisher.Update(whole("east", service("user", 1)))
	b.publisher.Update(whole("east", service("user", 2)))
	stopA := a.lead(t, epochs)
	eventually(t, "a leads", func() bool { return ready(west.config.Table, "user", "east") == 1 })
	late, _ := a.store.get("east")
	stopA()
	b.lead(t, epochs)
	eventually(t, "b leads", func() bool { return ready(west.config.Table, "user", "east") == 2 })

	replay, err := proto.Marshal(&wire.Message{Body: &wire.Message_Announcement{Announcement: &wire.Announcement{Head: late.signed}}})
	require.NoError(t, err)
	west.HandleMessage("", replay)
	require.Equal(t, 2, ready(west.config.Table, "user", "east"))
	eventually(t, "the follower holds the part too", func() bool { return ready(a.config.Table, "user", "east") == 2 })
}

func TestHeartbeatsGoOnWithoutALeaseUntilAnotherPublishes(t *testing.T) {
	p, n := newPKI(t), &network{}
	epochs := &counter{}
	a := n.start(t, p, "e0.east", "east")
	b := n.start(t, p, "e1.east", "east")
	west := n.start(t, p, "w0.west", "west")
	a.publisher.Update(whole("east", service("user", 1)))
	stopA := a.lead(t, epochs)
	eventually(t, "a leads", func() bool { return ready(west.config.Table, "user", "east") == 1 })
	stopA()
	beats := func() uint64 { h, _ := west.store.get("east"); return h.Heartbeat }
	require.NoError(t, a.publisher.beat())
	eventually(t, "a heartbeat", func() bool { return beats() == 1 })
	require.NoError(t, b.publisher.beat())
	b.publisher.Update(whole("east", service("user", 2)))
	b.lead(t, epochs)
	eventually(t, "b leads", func() bool { return ready(a.config.Table, "user", "east") == 2 })
	require.NoError(t, a.publisher.beat())
	h, _ := a.store.get("east")
	require.Zero(t, h.Heartbeat, "who was followed is silent")
}

func TestForgedHeadsAreRefused(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	foreign := newPKI(t)
	content := emptyPart.with([]item{newItem("s/production/evil", []byte{})}, nil)
	for what, identity := range map[string]*trust.Identity{
		"another root":            foreign.identity("east", trust.Watcher),
		"another cluster's key":   p.identity("central", trust.Watcher),
		"an agent of the cluster": p.identity("east", trust.Agent),
	} {
		t.Run(what, func(t *testing.T) {
			h, err := sign(identity, &wire.Head{
				Clusterset: "test", Cluster: "east", Uid: "uid-east", Epoch: 1, Seq: 1,
				Root: content.root[:], Items: 1,
			})
			require.NoError(t, err)
			a := &wire.Announcement{Head: h.signed, Delta: &wire.Delta{Changed: []*wire.Item{{Key: "s/production/evil"}}}}
			_, _, err = west.store.accept(a)
			require.Error(t, err)
			require.Contains(t, err.Error(), "east")
			t.Log(err)
			require.Empty(t, west.config.Table.Clusters())
		})
	}
}

func TestSecondClusterOfAName(t *testing.T) {
	for _, order := range []string{"claims before it hears", "hears before it claims"} {
		t.Run(order, func(t *testing.T) {
			p, n := newPKI(t), &network{}
			first := n.start(t, p, "w0.west", "west")
			east := n.start(t, p, "e0.east", "east")
			first.publisher.Update(whole("west", service("user", 1)))
			first.lead(t, &counter{})
			eventually(t, "west is known", func() bool { return ready(east.config.Table, "user", "west") == 1 })

			second := n.startExpecting(t, p, "x0.west", "west")
			claim := whole("west", service("user", 2))
			claim.Cluster.UID = "uid-other"
			if order == "hears before it claims" {
				eventually(t, "it took the name for its own", func() bool {
					exchange(second, east)
					h, _ := second.store.get("west")
					return h != nil
				})
			}
			second.publisher.Update(claim)
			second.lead(t, &counter{})
			var err error
			eventually(t, "the second gives way", func() bool {
				exchange(second, east)
				exchange(first, second)
				select {
				case err = <-second.ended:
					return true
				default:
					return false
				}
			})
			require.ErrorIs(t, err, ErrNameTaken)
			require.ErrorContains(t, err, `uid "uid-west"`)
			require.Equal(t, 1, ready(east.config.Table, "user", "west"))
			require.Empty(t, first.ended, "the first goes on")
		})
	}
}

func TestRecordOutOfBoundsHarmsNobodyElse(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	good, err := encodeService(service("good", 1))
	require.NoError(t, err)
	items := []item{newItem("s/production/good", good), newItem("s/production/bad", []byte{0xff}), newItem("x/later", []byte("kind of a later version"))}
	content := emptyPart.with(items, nil)
	h, err := sign(p.identity("east", trust.Watcher), &wire.Head{
		Clusterset: "test", Cluster: "east", Uid: "u", Epoch: 1, Seq: 1, Root: content.root[:], Items: 3,
	})
	require.NoError(t, err)
	a := &wire.Announcement{Head: h.signed, Delta: &wire.Delta{}}
	for _, it := range items {
		a.Delta.Changed = append(a.Delta.Changed, &wire.Item{Key: it.key, Value: it.value})
	}
	_, result, err := west.store.accept(a)
	require.NoError(t, err)
	require.Equal(t, applied, result)
	require.Equal(t, 1, ready(west.config.Table, "good", "east"))
	require.Equal(t, -1, ready(west.config.Table, "bad", "east"))
	_, have := west.store.get("east")
	require.Equal(t, 3, have.items, "items of unknown kinds are kept and passed on")
}

func name(i int) string {
	return "svc-" + string(rune('a'+i/100)) + "-" + string(rune('a'+i/10%10)) + string(rune('a'+i%10))
}
