package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// TestHeard: a cluster is heard of by news, not by what a stream begins with,
// what was pulled or what lay on disk: those may be hours old.
func TestHeard(t *testing.T) {
	p, n := newPKI(t), &network{}
	west := n.start(t, p, "w0.west", "west")
	east := n.start(t, p, "e0.east", "east")
	west.publisher.Update(whole("west", service("orders", 1)))
	west.lead(t, &counter{})
	epochs := &counter{}
	east.publisher.Update(whole("east", service("user", 3)))
	silence := east.lead(t, epochs)
	eventually(t, "east's part in west", func() bool { return ready(west.config.Table, "user", "east") == 3 })
	for _, n := range []*node{east, west} {
		eventually(t, "its own publication", func() bool { _, heard := n.Heard(n.peer.Cluster); return heard })
	}
	silence()

	dir := t.TempDir()
	identity := p.identity("west", trust.Agent)
	s, stop := agent(t, identity, dir, west.peer.Addr)
	eventually(t, "in step", func() bool { return !s.Stale() && ready(s.Table(), "user", "east") == 3 })
	_, heard := s.Heard("east")
	require.False(t, heard, "east was silent since before")
	_, heard = s.Heard("nobody")
	require.False(t, heard)

	before := time.Now()
	east.publisher.Update(discovery.Update{Services: []*discovery.Service{service("user", 1)}})
	east.lead(t, epochs)
	for name, of := range map[string]func(string) (time.Time, bool){"agent": s.Heard, "its watcher": west.Heard} {
		var at time.Time
		eventually(t, name+" hears of east", func() (ok bool) { at, ok = of("east"); return ok })
		require.False(t, at.Before(before))
		require.False(t, at.After(time.Now()))
	}
	eventually(t, "the change", func() bool { return ready(s.Table(), "user", "east") == 1 })

	stop() // and save
	west.stop()
	again, _ := agent(t, identity, dir, west.peer.Addr)
	require.Equal(t, 1, ready(again.Table(), "user", "east"))
	_, heard = again.Heard("east")
	require.False(t, heard, "from disk")

	s.store.forget("east")
	_, heard = s.Heard("east")
	require.False(t, heard, "forgotten")
	require.NotContains(t, s.store.heads.heard, "east")
}
