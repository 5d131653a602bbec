package kube

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/cache"

	"github.com/isthmus-dns/isthmus/discovery/export"
)

// busyIndexer is a store to which an informer adds an export while it is taken
// into use.
type busyIndexer struct {
	cache.Indexer
	whenListed func()
}

func (b *busyIndexer) List() []any {
	objs := b.Indexer.List()
	b.whenListed()
	return objs
}

// TestExportDuringTheSwap: an export that comes while a new version's store is
// taken into use is seen, although its event is worked off at once.
func TestExportDuringTheSwap(t *testing.T) {
	var k *kinds
	seen := map[cache.ObjectName]bool{}
	k = newWatch(t).source.kinds(
		func(key cache.ObjectName) { seen[key] = k.export(key) != nil }, // a worker without delay
		func(export.From, export.Object) bool { return false })
	store := &busyIndexer{Indexer: cache.NewIndexer(cache.MetaNamespaceKeyFunc, nil)}
	add := func(name string) {
		e := &serviceExport{}
		e.Namespace, e.Name = "shop", name
		require.NoError(t, store.Add(e))
		k.exportChanged(e)
	}
	store.whenListed = func() { add("late") }
	add("early")
	k.exports.use(store)
	require.Equal(t, map[cache.ObjectName]bool{
		cache.NewObjectName("shop", "early"): true,
		cache.NewObjectName("shop", "late"):  true,
	}, seen)
}
