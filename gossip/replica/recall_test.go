package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// TestEpochThatOnlyAgentsRemember: a watcher that lost its epoch store, and has
// no peers that would know, must not publish below what its agents hold: they
// would answer from that for ever.
func TestEpochThatOnlyAgentsRemember(t *testing.T) {
	p, n := newPKI(t), &network{}
	before := n.start(t, p, "w0.west", "west")
	before.publisher.Update(whole("west", service("user", 3)))
	before.lead(t, &counter{n: 40})
	identity, dir := p.identity("west", trust.Agent), t.TempDir()
	s, stop := agent(t, identity, dir, before.peer.Addr)
	eventually(t, "the agent is current", func() bool { return s.Table().Loaded() && !s.Stale() })
	stop()
	before.stop()
	n.mu.Lock()
	clear(n.nodes)
	n.mu.Unlock()

	after := n.start(t, p, "w0.west", "west")
	after.publisher.Update(whole("west", service("user", 1)))
	after.lead(t, &counter{})
	eventually(t, "it leads", func() bool { return ready(after.config.Table, "user", "west") == 1 })
	s = restored(t, identity, dir, after.peer.Addr)
	require.Equal(t, 3, ready(s.Table(), "user", "west"), "from disk")
	follow(t, s)
	eventually(t, "the agent hears of it", func() bool { return ready(s.Table(), "user", "west") == 1 && !s.Stale() })
	h, _ := after.store.get("west")
	require.EqualValues(t, 42, h.Epoch)
}

// TestWhatAgentsRecallIsChecked: an agent can repeat what its cluster's
// watchers have signed, and nothing else.
func TestWhatAgentsRecallIsChecked(t *testing.T) {
	p := newPKI(t)
	r, _ := holding(t, p.identity("west", trust.Watcher))
	r.claim("u")
	head := func(identity *trust.Identity, uid string, epoch uint64) []byte {
		h, _ := from(t, identity, &wire.Head{Uid: uid, Epoch: epoch, Seq: 1}, emptyPart)
		return encodeRecalled(h)
	}
	west := p.identity("west", trust.Watcher)
	for what, encoded := range map[string][]byte{
		"nothing":         nil,
		"no head":         []byte("no head"),
		"too much":        make([]byte, maxRecalled+1),
		"another cluster": head(p.identity("east", trust.Watcher), "u", 99),
		"an agent's key":  head(p.identity("west", trust.Agent), "u", 99),
		"another root":    head(newPKI(t).identity("west", trust.Watcher), "u", 99),
		"another uid":     head(west, "v", 99),
		"beyond the last": head(west, "u", maxEpoch+1),
	} {
		r.recall(encoded)
		require.Nil(t, r.recalled.Load(), what)
	}
	r.recall(head(west, "u", 41))
	r.recall(head(west, "u", 7))
	require.Equal(t, discovery.Version{Epoch: 41, Seq: 1}, r.recalled.Load().version(), "the newest counts")
}

// TestRetirementThatOnlyAgentsRemember: it is no epoch to lead above. Else our
// cluster would come back for all, and nobody has said so.
func TestRetirementThatOnlyAgentsRemember(t *testing.T) {
	p := newPKI(t)
	west := p.identity("west", trust.Watcher)
	retired, _ := from(t, west, &wire.Head{Uid: "u", Epoch: 7 + retireStep, Seq: 1, Retired: true}, emptyPart)
	for _, claimed := range []bool{true, false} {
		r, _ := holding(t, west)
		close(r.settled)
		if claimed {
			r.claim("u")
		}
		r.recall(encodeRecalled(retired))
		require.False(t, r.nameIsTaken() && !claimed, "before we know that it is we")
		if !claimed {
			r.claim("u")
		}
		require.True(t, r.nameIsTaken())
		require.ErrorIs(t, r.takenErr, ErrRetired)
	}
}
