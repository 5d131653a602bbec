package replica

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// soon is when clusters are forgotten here: a day takes 8,640 signatures each.
const soon = time.Hour

// chorus are clusters whose heartbeats a watcher hears.
type chorus struct {
	t      *testing.T
	r      *Replica
	owners map[string]*owner
	ids    map[string]*trust.Identity
	beats  map[string]uint64
}

// listening runs a watcher of west with such clusters, all of which it knows.
func listening(t *testing.T, names ...string) *chorus {
	c := &chorus{t, alone(t, "west"), map[string]*owner{}, map[string]*trust.Identity{}, map[string]uint64{}}
	c.r.puller.giveUp = func(int, error) bool { return true }
	for _, name := range append(names, "west") {
		o := owns(t, name, &wire.Head{Uid: "uid-" + name, Epoch: 1, Seq: 1}, service("user", 1))
		c.owners[name], c.ids[name] = o, o.identity(t)
		bring(t, c.r, o.head, o.content)
	}
	c.r.config.Forget = soon
	go func() { _ = c.r.keep(t.Context()) }()
	return c
}

// pass lets time go by in which the named clusters beat.
func (c *chorus) pass(d time.Duration, beating ...string) {
	for range d / heartbeat {
		time.Sleep(heartbeat)
		for _, name := range beating {
			c.beat(name)
		}
	}
	synctest.Wait()
}

func (c *chorus) beat(name string) (*head, outcome) {
	c.beats[name]++
	h, _ := from(c.t, c.ids[name], &wire.Head{Uid: "uid-" + name, Epoch: 1, Seq: 1, Heartbeat: c.beats[name]}, c.owners[name].content)
	_, result, err := c.r.store.accept(&wire.Announcement{Head: h.signed})
	require.NoError(c.t, err)
	return h, result
}

func (c *chorus) has(name string) bool { return ready(c.r.config.Table, "user", name) == 1 }

func TestSilentClusterIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := listening(t, "east", "south", "north")
		box := c.r.feed.open()
		last, _ := c.beat("east")
		c.pass(soon-time.Minute, "south", "north")
		require.True(t, c.has("east"), "not yet")
		c.pass(3*time.Minute, "south", "north")
		require.False(t, c.has("east"))
		require.True(t, c.has("south"))
		require.True(t, c.has("west"), "our own beats nothing here, and stays")
		require.Nil(t, c.r.store.heads.get("east"))
		messages := box.take()
		require.Equal(t, "east", messages[len(messages)-1].GetForget().GetCluster(), "agents are told")

		// Peers that have not forgotten yet.
		_, result, err := c.r.store.accept(&wire.Announcement{Head: last.signed})
		require.NoError(t, err)
		require.Equal(t, old, result)
		_, result, err = c.r.store.adopt("east", c.owners["east"].answer(), emptyPart)
		require.NoError(t, err)
		require.Equal(t, old, result)
		c.r.HandleDigest(digestOf(t, "s0.south", &wire.Digest{Cluster: "east", Epoch: 1, Seq: 1, Heartbeat: 1}))
		require.Empty(t, c.r.puller.wants, "nor is it pulled")
		require.False(t, c.has("east"))

		// It was only cut off, and comes back.
		_, result = c.beat("east")
		require.Equal(t, gap, result)
		h, _ := c.beat("east")
		bring(t, c.r, h, c.owners["east"].content)
		require.True(t, c.has("east"))
		require.Empty(t, c.r.store.heads.buried())
		c.pass(soon+time.Hour, "south", "north", "east")
		require.True(t, c.has("east"))
	})
}

func TestWhoIsCutOffForgetsNobody(t *testing.T) {
	for _, tt := range []struct {
		name    string
		others  int
		beating int // of them
		want    int // that are left
	}{
		{"all are silent", 4, 0, 4},
		{"more than half", 5, 2, 5},
		{"just half", 4, 2, 2},
		{"one of three", 3, 2, 2},
		{"the only other one", 1, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var others []string
				for i := range tt.others {
					others = append(others, fmt.Sprint("c", i))
				}
				c := listening(t, others...)
				c.pass(2*soon, others[:tt.beating]...)
				require.Len(t, c.r.config.Table.Clusters(), tt.want+1)
				c.pass(time.Hour, others...) // the link is back
				require.Len(t, c.r.config.Table.Clusters(), tt.want+1)
			})
		})
	}
}

// TestCutOffAfterOthersLeft: clusters that left long before we were cut off
// don't count among those that were there then.
func TestCutOffAfterOthersLeft(t *testing.T) {
	now := time.Now()
	ago := func(all ...time.Duration) (out []time.Time) {
		for _, d := range all {
			out = append(out, now.Add(-d))
		}
		return out
	}
	require.False(t, cutOff(ago(), now))
	require.False(t, cutOff(ago(time.Second, time.Minute), now), "one of two")
	require.True(t, cutOff(ago(time.Minute, time.Minute), now))
	require.False(t, cutOff(ago(20*time.Hour, 10*time.Hour, 5*time.Second, 5*time.Second), now), "one after the other")
	require.True(t, cutOff(ago(20*time.Hour, 15*time.Hour, time.Hour, time.Hour), now), "those that were left")
	require.False(t, cutOff(ago(time.Hour, time.Hour, time.Second, time.Second, time.Second), now))
}

// TestAgentForgetsToo: an agent that was down when its watcher forgot a cluster
// hears of it at the start of the stream, or forgets it by itself.
func TestAgentForgetsToo(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	west.publisher.Update(whole("west", service("orders", 1)))
	west.lead(t, &counter{})
	for _, name := range []string{"east", "south", "north"} {
		o := n.start(t, p, name+"-0."+name, name)
		o.publisher.Update(whole(name, service("user", 3)))
		o.lead(t, &counter{})
		eventually(t, name, func() bool { return ready(west.config.Table, "user", name) == 3 })
	}
	dir, identity := t.TempDir(), p.identity("west", trust.Agent)
	s, stop := agent(t, identity, dir, west.peer.Addr)
	eventually(t, "all", func() bool { return ready(s.Table(), "user", "east") == 3 && !s.Stale() })
	stop()
	age(west.store, "east", DefaultForget)
	gone, frozen := west.store.sweep(time.Now(), DefaultForget)
	require.False(t, frozen)
	require.Equal(t, []string{"east"}, gone)
	s = restored(t, identity, dir, west.peer.Addr)
	require.Equal(t, 3, ready(s.Table(), "user", "east"), "from disk")
	follow(t, s)
	eventually(t, "told", func() bool { return ready(s.Table(), "user", "east") == -1 })
	age(s.store, "south", DefaultForget)
	gone, _ = s.store.sweep(time.Now(), DefaultForget)
	require.Equal(t, []string{"south"}, gone)
}

func age(s *store, cluster string, by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clusters[cluster].fresh = s.clusters[cluster].fresh.Add(-by)
}

// TestGravesAreBounded: names of clusters that came and went must not pile up.
func TestGravesAreBounded(t *testing.T) {
	hs := heads{byCluster: map[string]*head{}, graves: map[string]*head{}, maxGraves: 3}
	for i := range 10 {
		hs.set(&head{Head: &wire.Head{Cluster: fmt.Sprint("c", i)}})
		hs.bury(fmt.Sprint("c", i))
	}
	require.Len(t, hs.buried(), 3)
	require.NotNil(t, hs.grave("c9"))
}

// TestRemovedRootTakesItsPartsAlong: what only a removed root vouched for goes,
// though not at once: its owner may have a new certificate already.
func TestRemovedRootTakesItsPartsAlong(t *testing.T) {
	a, b := newPKI(t), newPKI(t)
	identity := a.identity("west", trust.Watcher)
	ca := filepath.Join(a.dir, "ca.crt")
	both := append(append([]byte(nil), a.authority.CertPEM()...), b.authority.CertPEM()...)
	require.NoError(t, os.WriteFile(ca, both, 0o600))
	require.NoError(t, identity.Reload())
	r, err := New(Config{Member: "w0.west", Identity: identity, Table: discovery.NewTable()})
	require.NoError(t, err)
	content := records(t, service("user", 1))
	for name, by := range map[string]*pki{"east": b, "south": a, "north": b} {
		h, _ := from(t, by.identity(name, trust.Watcher), &wire.Head{Epoch: 1, Seq: 1}, content)
		bring(t, r, h, content)
	}
	now := time.Now()
	look := func(after time.Duration) (gone []string) {
		gone, _ = r.store.recheck(now.Add(after))
		return gone
	}
	require.Empty(t, look(0))
	require.NoError(t, os.WriteFile(ca, a.authority.CertPEM(), 0o600))
	require.NoError(t, identity.Reload())
	require.Empty(t, look(time.Minute))
	h, _ := from(t, a.identity("north", trust.Watcher), &wire.Head{Epoch: 1, Seq: 1, Heartbeat: 1}, content)
	_, _, err = r.store.accept(&wire.Announcement{Head: h.signed})
	require.NoError(t, err)
	require.Empty(t, look(rootGrace))
	require.Equal(t, []string{"east"}, look(time.Minute+rootGrace))
	require.Equal(t, 1, ready(r.config.Table, "user", "north"), "signed anew")
	require.Equal(t, 1, ready(r.config.Table, "user", "south"))
	require.Equal(t, -1, ready(r.config.Table, "user", "east"))
}

// TestDigestsWhileClustersGo: a cluster may be dropped at any moment of a
// comparison.
func TestDigestsWhileClustersGo(t *testing.T) {
	r := alone(t, "west")
	o := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1, Heartbeat: 1}, service("user", 1))
	bring(t, r, o.head, o.content)
	h := r.store.heads.get("east")
	stop := make(chan struct{})
	var going sync.WaitGroup
	going.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				r.store.heads.set(h)
				r.store.heads.drop("east")
			}
		}
	})
	for range 2_000_000 {
		r.lacks(h.digest())
	}
	close(stop)
	going.Wait()
}
