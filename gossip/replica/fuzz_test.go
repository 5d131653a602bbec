package replica

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

func FuzzService(f *testing.F) {
	b, err := encodeService(service("user", 3))
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeService("user.production", b)
		if err != nil {
			return
		}
		require.NoError(t, s.Validate())
		again, err := encodeService(s)
		require.NoError(t, err)
		twice, err := decodeService("user.production", again)
		require.NoError(t, err)
		require.Equal(t, s, twice)
	})
}

func FuzzCluster(f *testing.F) {
	b, err := encodeCluster(&discovery.Cluster{Name: "east", Locality: discovery.Locality{Region: "r"}})
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := decodeCluster("east", b); err == nil {
			require.NoError(t, c.Validate())
		}
	})
}

func FuzzMessage(f *testing.F) {
	r := alone(f, "west")
	east, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "east", Role: trust.Watcher})
	require.NoError(f, err)
	content := emptyPart.with([]item{newItem("s/a/b", []byte("x"))}, nil)
	h, err := sign(east, &wire.Head{Clusterset: "test", Cluster: "east", Uid: "u", Epoch: 1, Seq: 1, Root: content.root[:], Items: 1})
	require.NoError(f, err)
	msg, err := proto.Marshal(&wire.Message{Body: &wire.Message_Announcement{Announcement: &wire.Announcement{
		Head: h.signed, Delta: &wire.Delta{Changed: []*wire.Item{{Key: "s/a/b", Value: []byte("x")}}},
	}}})
	require.NoError(f, err)
	f.Add(msg)
	retired, err := sign(east, &wire.Head{Clusterset: "test", Cluster: "east", Uid: "u", Epoch: 2, Seq: 1, Root: emptyPart.root[:], Retired: true})
	require.NoError(f, err)
	msg, err = message(&wire.Announcement{Head: retired.signed})
	require.NoError(f, err)
	f.Add(msg)
	f.Fuzz(func(_ *testing.T, msg []byte) { r.HandleMessage("", msg) })
}

func FuzzDigest(f *testing.F) {
	r := alone(f, "west")
	b, err := proto.Marshal(&wire.Digests{Member: "e0.east", Digests: []*wire.Digest{{Cluster: "east", Epoch: 1, Seq: 2}}})
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(_ *testing.T, b []byte) { r.HandleDigest(b) })
}

func FuzzSnapshot(f *testing.F) {
	p := newPKI(f)
	identity := p.identity("west", trust.Agent)
	dir := f.TempDir()
	s, err := NewSubscriber(SubscriberConfig{Watchers: []string{"x:1"}, Identity: identity, Table: discovery.NewTable(), SnapshotDir: dir})
	require.NoError(f, err)
	require.NoError(f, s.save(&View{Cluster: "west"}))
	good, err := os.ReadFile(filepath.Join(dir, snapshotFile))
	require.NoError(f, err)
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := os.CreateTemp(t.TempDir(), "")
		require.NoError(t, err)
		defer file.Close()
		_, err = file.Write(b)
		require.NoError(t, err)
		_, err = file.Seek(0, 0)
		require.NoError(t, err)
		_, _, _ = readSnapshot(file, DefaultLimits())
	})
}
