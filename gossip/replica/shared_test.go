package replica

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// TestEqualContentIsHeldOnce, and not longer than somebody has it.
func TestEqualContentIsHeldOnce(t *testing.T) {
	east, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "east", Role: trust.Watcher})
	require.NoError(t, err)
	value, err := encodeService(service("web", 1))
	require.NoError(t, err)
	key := serviceKey("web.production")
	root := emptyPart.with([]item{newItem(key, value)}, nil).root
	h, err := sign(east, &wire.Head{Clusterset: "test", Cluster: "east", Uid: "uid-east", Epoch: 1, Seq: 1, Root: root[:], Items: 1})
	require.NoError(t, err)
	shared := NewShared()
	var copies []*Replica
	for range 2 {
		west, err := trust.Insecure(trust.ID{Clusterset: "test", Cluster: "west", Role: trust.Watcher})
		require.NoError(t, err)
		r, err := New(Config{Member: "w0.west", Identity: west, Table: discovery.NewTable(), Shared: shared})
		require.NoError(t, err)
		fresh := newItem(key, append([]byte(nil), value...))
		_, result, err := r.store.adopt("east", &pulled{head: h.signed, buckets: []byte{byte(bucketOf(key))}, items: []item{fresh}}, emptyPart)
		require.NoError(t, err)
		require.Equal(t, applied, result)
		copies = append(copies, r)
	}
	record := func(r *Replica) *discovery.Service {
		return r.config.Table.Lookup("web.production").Candidate("east")
	}
	held := func(r *Replica) *bucket {
		_, p := r.store.get("east")
		return p.buckets[bucketOf(key)]
	}
	require.NotNil(t, record(copies[0]))
	require.Same(t, record(copies[0]), record(copies[1]))
	require.Same(t, held(copies[0]), held(copies[1]))

	clear(copies)
	kept := func() (n int) {
		for _, m := range []*sync.Map{shared.buckets.weak, shared.services.weak} {
			m.Range(func(any, any) bool { n++; return true })
		}
		return n
	}
	require.Eventually(t, func() bool { runtime.GC(); return kept() == 0 }, 30*time.Second, time.Millisecond)
}
