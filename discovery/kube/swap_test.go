package kube

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/cache"
)

// busyIndexer is a store to which an informer adds an export while it is taken
// into use.
type busyIndexer struct {
	cache.Indexer
	whenListed func()
}

func (b *busyIndexer) ListKeys() []string {
	keys := b.Indexer.ListKeys()
	b.whenListed()
	return keys
}

// TestExportDuringTheSwap: an export that comes while a new version's store is
// taken into use is seen, although its event is worked off at once.
func TestExportDuringTheSwap(t *testing.T) {
	var e *exports
	seen := map[cache.ObjectName]bool{}
	e = newWatch(t).source.exports(func(key cache.ObjectName) { seen[key] = e.get(key) != nil }) // a worker without delay
	store := &busyIndexer{Indexer: cache.NewIndexer(cache.MetaNamespaceKeyFunc, nil)}
	add := func(name string) {
		u := &unstructured.Unstructured{Object: map[string]any{}}
		u.SetNamespace("shop")
		u.SetName(name)
		require.NoError(t, store.Add(u))
		e.enqueue(cache.NewObjectName("shop", name))
	}
	store.whenListed = func() { add("late") }
	add("early")
	e.use(store)
	require.Equal(t, map[cache.ObjectName]bool{
		cache.NewObjectName("shop", "early"): true,
		cache.NewObjectName("shop", "late"):  true,
	}, seen)
}
