package replica

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// TestRootDependsOnContentOnly: the same items give the same root, whatever
// the way to them; other items give another.
func TestRootDependsOnContentOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.MapOf(rapid.StringN(1, 10, 30), rapid.SliceOf(rapid.Byte())).Draw(t, "content")
		var items []item
		for key, value := range content {
			items = append(items, newItem(key, value))
		}
		direct := emptyPart.with(items, nil)
		require.Equal(t, len(content), direct.items)

		stepwise := emptyPart
		for i, it := range rapid.Permutation(items).Draw(t, "order") {
			junk := newItem(fmt.Sprintf("junk\x00%d", i), nil)
			stepwise = stepwise.with([]item{it, junk}, nil).with(nil, []string{junk.key})
		}
		require.Equal(t, direct.root, stepwise.root)
		require.Equal(t, direct.bytes, stepwise.bytes)

		other := rapid.MapOf(rapid.StringN(1, 10, 30), rapid.SliceOf(rapid.Byte())).Draw(t, "other")
		var otherItems []item
		for key, value := range other {
			otherItems = append(otherItems, newItem(key, value))
		}
		from := emptyPart.with(otherItems, nil)
		changed, removed := diff(from, direct)
		require.Equal(t, direct.root, from.with(changed, removed).root, "a diff leads to its target")

		var sent []item
		buckets := direct.differing(from.prefixes())
		for _, n := range buckets {
			if b := direct.buckets[n]; b != nil {
				sent = append(sent, b.all()...)
			}
		}
		pulled, ok := from.replace(buckets, sent)
		require.True(t, ok)
		require.Equal(t, direct.root, pulled.root, "so does a pull")
	})
}

func TestReplaceRefusesWhatDoesNotBelong(t *testing.T) {
	it := newItem("s/a/b", nil)
	n := byte(bucketOf(it.key))
	_, ok := emptyPart.replace([]byte{n + 1}, []item{it})
	require.False(t, ok, "a bucket that is not named")
	_, ok = emptyPart.replace([]byte{n}, []item{it, it})
	require.False(t, ok, "twice")
	p, ok := emptyPart.with([]item{it}, nil).replace([]byte{n}, nil)
	require.True(t, ok)
	require.Equal(t, emptyPart.root, p.root, "a named bucket without items is empty")
}

// TestAnyOrderOfMessagesEndsInTheSameTable: a receiver that gets the
// announcements of a history in any order, some twice and some not at all, and
// then one pull, holds what the owner holds, and no version ever goes back.
func TestAnyOrderOfMessagesEndsInTheSameTable(t *testing.T) {
	east, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "east", Role: trust.Watcher})
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		var history []*wire.Announcement
		var last *head
		current := emptyPart
		version := discovery.Version{Epoch: 1}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			base := version.Seq
			if rapid.IntRange(0, 5).Draw(t, "new epoch") == 0 {
				version, base = discovery.Version{Epoch: version.Epoch + 1}, 0
			}
			version.Seq++
			key := fmt.Sprintf("s/ns/%c", 'a'+rapid.IntRange(0, 5).Draw(t, "key"))
			a := &wire.Announcement{Delta: &wire.Delta{BaseSeq: base}}
			if rapid.Bool().Draw(t, "remove") {
				a.Delta.Removed = []string{key}
				current = current.with(nil, a.Delta.Removed)
			} else {
				value := rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "value")
				a.Delta.Changed = []*wire.Item{{Key: key, Value: value}}
				current = current.with([]item{newItem(key, value)}, nil)
			}
			last, err = sign(east, &wire.Head{
				Clusterset: "test", Cluster: "east", Uid: "u", Epoch: version.Epoch, Seq: version.Seq,
				Root: current.root[:], Items: uint32(current.items),
			})
			require.NoError(t, err)
			a.Head = last.signed
			history = append(history, a)
		}
		deliveries := rapid.SliceOfN(rapid.SampledFrom(history), 0, 30).Draw(t, "deliveries")

		identity, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "west", Role: trust.Watcher})
		require.NoError(t, err)
		s := newStore(identity, "test", DefaultLimits(), discovery.NewTable(), func(string, error) {})
		var highest discovery.Version
		for _, a := range deliveries {
			_, _, err := s.accept(a)
			require.NoError(t, err)
			if h, p := s.get("east"); h != nil {
				require.False(t, h.version().Less(highest), "went back")
				require.Equal(t, h.root, p.root)
				highest = h.version()
			}
		}
		_, base := s.get("east")
		if base == nil {
			base = emptyPart
		}
		buckets := current.differing(base.prefixes())
		got := &pulled{head: last.signed, buckets: buckets}
		for _, n := range buckets {
			if b := current.buckets[n]; b != nil {
				got.items = append(got.items, b.all()...)
			}
		}
		_, _, err = s.adopt("east", got, base)
		require.NoError(t, err)
		h, p := s.get("east")
		require.Equal(t, last.version(), h.version())
		require.Equal(t, current.root, p.root)
	})
}

// BenchmarkAcceptDelta applies a change of one record to a part of 100,000,
// signature check and table included.
func BenchmarkAcceptDelta(b *testing.B) {
	east, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "east", Role: trust.Watcher})
	require.NoError(b, err)
	west, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "west", Role: trust.Watcher})
	require.NoError(b, err)
	s := newStore(west, "test", DefaultLimits(), discovery.NewTable(), func(string, error) {})
	var items []item
	for i := range 100_000 {
		svc := service(fmt.Sprintf("s%d", i), 1)
		value, err := encodeService(svc)
		require.NoError(b, err)
		items = append(items, newItem(serviceKey(svc.Key()), value))
	}
	current := emptyPart.with(items, nil)
	head := func(seq uint64) *wire.SignedHead {
		h, err := sign(east, &wire.Head{Clusterset: "test", Cluster: "east", Uid: "u", Epoch: 1, Seq: seq, Root: current.root[:], Items: uint32(current.items)})
		require.NoError(b, err)
		return h.signed
	}
	_, _, err = s.adopt("east", &pulled{head: head(1), buckets: allBuckets(), items: items}, emptyPart)
	require.NoError(b, err)
	b.ReportAllocs()
	for seq := uint64(2); b.Loop(); seq++ {
		b.StopTimer()
		svc := service(fmt.Sprintf("s%d", seq%100_000), uint32(seq%4))
		value, err := encodeService(svc)
		require.NoError(b, err)
		key := serviceKey(svc.Key())
		current = current.with([]item{newItem(key, value)}, nil)
		a := &wire.Announcement{Head: head(seq), Delta: &wire.Delta{BaseSeq: seq - 1, Changed: []*wire.Item{{Key: key, Value: value}}}}
		b.StartTimer()
		_, result, err := s.accept(a)
		if err != nil || result != applied {
			b.Fatal(result, err)
		}
	}
}
