package replica

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// TestLargePartsChangeAside: what takes as long as a part is large does not keep
// others' news waiting.
func TestLargePartsChangeAside(t *testing.T) {
	r := alone(t, "west")
	require.NoError(t, r.SetImport(Import{Rules: []ImportRule{{Clusters: []string{"east"}, Services: 1}}}))
	var list []*discovery.Service
	for i := range largeItems {
		list = append(list, service(fmt.Sprint("s", i), 1))
		list[i].ExportedAt = int64(1 + i)
	}
	first := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1}, list...)
	bring(t, r, first.head, first.content)
	left := 0
	r.store.omit = func(error) {
		left++
		require.True(t, r.store.mu.TryLock(), "the lock is free")
		r.store.mu.Unlock()
	}
	current := first.content
	for seq := uint64(2); seq < 5; seq++ {
		value, err := encodeService(service("s9", uint32(seq%3)))
		require.NoError(t, err)
		it := newItem("s/production/s9", value)
		current = current.with([]item{it}, nil)
		h, _ := from(t, first.identity(t), &wire.Head{Epoch: 1, Seq: seq}, current)
		d := &wire.Delta{BaseSeq: seq - 1, Changed: []*wire.Item{{Key: it.key, Value: it.value}}}
		_, result, err := r.store.accept(&wire.Announcement{Head: h.signed, Delta: d})
		require.NoError(t, err)
		require.Equal(t, applied, result)
		_, part := r.store.get("east")
		require.Equal(t, current.root, part.root)
	}
	require.Positive(t, left)
	require.Equal(t, 1, ready(r.config.Table, "s0", "east"))
	require.Equal(t, -1, ready(r.config.Table, "s9", "east"))
}
