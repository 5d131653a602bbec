package replica

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// stored makes an agent's subscriber that holds the given parts and has
// written them to a folder.
func stored(t *testing.T, identity *trust.Identity, dir string, parts ...*owner) *Subscriber {
	s := unconnected(t, identity, dir)
	for _, o := range parts {
		_, _, err := s.store.adopt(o.head.Cluster, o.answer(), emptyPart)
		require.NoError(t, err)
	}
	s.view.Store(&View{Cluster: "west"})
	s.config.Table.SetLoaded()
	s.dirty.Store(true)
	s.saveIfDirty()
	return s
}

func unconnected(t *testing.T, identity *trust.Identity, dir string) *Subscriber {
	s, err := NewSubscriber(SubscriberConfig{Watchers: []string{"127.0.0.1:1"}, Identity: identity, Table: discovery.NewTable(), SnapshotDir: dir})
	require.NoError(t, err)
	return s
}

// TestCopyWithARefusedPartIsNotTheWhole: after the rotation of a root, an old
// copy may hold parts that nobody vouches for any more. Their names must not be
// denied until a watcher has told what became of them.
func TestCopyWithARefusedPartIsNotTheWhole(t *testing.T) {
	p, dir := newPKI(t), t.TempDir()
	identity := p.identity("west", trust.Agent)
	part := func(p *pki, cluster string) *owner {
		content := records(t, service("user", 1))
		h, _ := from(t, p.identity(cluster, trust.Watcher), &wire.Head{Epoch: 1, Seq: 1}, content)
		return &owner{h, content}
	}
	stored(t, identity, dir, part(p, "west"), part(p, "east"))
	s := unconnected(t, identity, dir)
	require.NoError(t, s.Restore())
	require.True(t, s.Table().Loaded())

	old := newPKI(t)
	former := old.identity("west", trust.Agent)
	stored(t, former, dir, part(old, "west"), part(old, "east"))
	s = unconnected(t, identity, dir)
	err := s.Restore()
	require.ErrorContains(t, err, "2 of 2 clusters")
	require.ErrorContains(t, err, "does not chain to a trusted root")
	require.False(t, s.Table().Loaded())
	require.Nil(t, s.View())
}

// TestAnyPartCanBeReadBack: records without octets under long keys, of a kind
// that a later version may bring, make a frame as others do.
func TestAnyPartCanBeReadBack(t *testing.T) {
	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "west", Role: trust.Agent})
	require.NoError(t, err)
	dir := t.TempDir()
	odd := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1})
	var items []item
	for i := range 10_000 {
		items = append(items, newItem(fmt.Sprintf("later/%0*d", maxKey-len("later/"), i), nil))
	}
	odd.content = emptyPart.with(items, nil)
	odd.head, _ = from(t, odd.identity(t), &wire.Head{Epoch: 1, Seq: 1}, odd.content)
	s := stored(t, identity, dir, odd)
	info, err := os.Stat(filepath.Join(dir, snapshotFile))
	require.NoError(t, err)
	require.Greater(t, info.Size(), int64(maxFrame))
	require.NotEmpty(t, s.Table().Clusters())

	again := unconnected(t, identity, dir)
	require.NoError(t, again.Restore())
	require.Equal(t, len(s.Table().Clusters()), len(again.Table().Clusters()))
}

// identity is what signs for the owner's cluster.
func (o *owner) identity(t testing.TB) *trust.Identity {
	identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: o.head.Cluster, Role: trust.Watcher})
	require.NoError(t, err)
	return identity
}

// TestCopyIsBounded: what would be too large to be read again is not written,
// and what was there stays.
func TestCopyIsBounded(t *testing.T) {
	p, dir := newPKI(t), t.TempDir()
	identity := p.identity("west", trust.Agent)
	content := records(t, service("user", 1))
	h, _ := from(t, p.identity("east", trust.Watcher), &wire.Head{Epoch: 1, Seq: 1}, content)
	s := stored(t, identity, dir, &owner{h, content})
	path := filepath.Join(dir, snapshotFile)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.LessOrEqual(t, info.Size(), s.snapshotSize())

	var items []item
	for i := range 1000 {
		items = append(items, newItem(fmt.Sprint("s/x/", i), make([]byte, i)))
	}
	larger := content.with(items, nil)
	h, _ = from(t, p.identity("east", trust.Watcher), &wire.Head{Epoch: 1, Seq: 2}, larger)
	_, _, err = s.store.adopt("east", (&owner{h, larger}).answer(), emptyPart)
	require.NoError(t, err)
	s.room = 400 << 10
	require.ErrorIs(t, s.save(s.View()), errNoRoom)
	s.dirty.Store(true)
	s.saveIfDirty()
	require.False(t, s.dirty.Load(), "not tried again before something changes")
	after, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, info.Size(), after.Size())
	s.room = maxSnapshot
	require.NoError(t, s.save(s.View()))
	after, err = os.Stat(path)
	require.NoError(t, err)
	require.LessOrEqual(t, after.Size(), s.snapshotSize())
}

func TestTally(t *testing.T) {
	p, dir := newPKI(t), t.TempDir()
	s := unconnected(t, p.identity("west", trust.Agent), dir)
	require.Zero(t, s.Tally().Heard)
	content := records(t, in("a", "one", 1), in("b", "two", 2))
	content = content.with([]item{newItem("s/b/bad", []byte{0xff})}, nil)
	s.store.setImport(&Import{Rules: []ImportRule{{Clusters: []string{"*"}, Namespaces: []string{"b"}}}})
	h, _ := from(t, p.identity("east", trust.Watcher), &wire.Head{Epoch: 1, Seq: 1}, content)
	_, _, err := s.store.adopt("east", (&owner{h, content}).answer(), emptyPart)
	require.NoError(t, err)
	s.handle(streamed(&wire.Announcement{Head: &wire.SignedHead{Head: []byte("x")}}))
	require.Equal(t, map[string]uint64{"namespace": 1, "record": 1, "malformed": 1}, s.Tally().Refused)
	require.NotZero(t, s.Tally().Heard)
}
