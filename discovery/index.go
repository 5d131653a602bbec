package discovery

import (
	"hash/maphash"
	"sync/atomic"
)

const (
	// minBuckets is an empty index's size.
	minBuckets = 16
	// bucketsPerKey keeps chains short: with keys on at most half of the
	// buckets, a lookup reads 1.2 nodes on average. Every node that it reads
	// is a miss of the processor's cache when the table is large, a bucket is
	// 8 octets.
	bucketsPerKey = 2
	// shrinkAt is how many times too large an index may be before it is made
	// smaller. It is far from bucketsPerKey, so that a size which goes up and
	// down doesn't rebuild the index each time.
	shrinkAt = 16
	// inlineKey makes a node of the services' index 64 octets, one line of the
	// cache. "user-service.production" has 23.
	inlineKey = 32
)

// index is a hash table that readers use without locks while one writer at a
// time changes it. A bucket is a chain of immutable nodes; a change replaces
// the chain's head. When the index has grown, it is rebuilt beside the old one,
// so that a change costs the same on average whatever the size.
//
// Go's map would have to be copied for a change. Many small ones would cost a
// lookup five reads that miss the cache (shard, map, group, key, value); here
// it is two, the bucket and the node.
type index[K ~string, V any] struct {
	seed    maphash.Seed
	buckets atomic.Pointer[[]bucket[K, V]] // a power of two of them
	keys    int                            // how many there are; the writer's
}

type bucket[K ~string, V any] struct {
	head atomic.Pointer[node[K, V]]
}

// node is one pair; immutable.
type node[K ~string, V any] struct {
	next  *node[K, V]
	value V
	key   K
	// inline is the key again, if it fits: comparing it reads no other memory.
	inline [inlineKey]byte
}

func newIndex[K ~string, V any]() *index[K, V] {
	x := &index[K, V]{seed: maphash.MakeSeed()}
	x.buckets.Store(new(make([]bucket[K, V], minBuckets)))
	return x
}

func (x *index[K, V]) bucketOf(buckets []bucket[K, V], k K) *bucket[K, V] {
	return &buckets[maphash.String(x.seed, string(k))&uint64(len(buckets)-1)]
}

// get is wait-free and allocates nothing.
func (x *index[K, V]) get(k K) (v V, ok bool) {
	for n := x.bucketOf(*x.buckets.Load(), k).head.Load(); n != nil; n = n.next {
		if n.has(k) {
			return n.value, true
		}
	}
	return v, false
}

func (n *node[K, V]) has(k K) bool {
	if len(n.key) != len(k) {
		return false
	}
	if len(k) <= inlineKey {
		return string(n.inline[:len(k)]) == string(k)
	}
	return n.key == k
}

// all calls f for each pair until f returns false. What changes meanwhile may
// be seen or not.
func (x *index[K, V]) all(f func(K, V) bool) {
	buckets := *x.buckets.Load()
	for i := range buckets {
		for n := buckets[i].head.Load(); n != nil; n = n.next {
			if !f(n.key, n.value) {
				return
			}
		}
	}
}

// set puts a pair in; its key may be there already.
func (x *index[K, V]) set(k K, v V) {
	b := x.bucketOf(*x.buckets.Load(), k)
	rest, found := without(b.head.Load(), k)
	n := &node[K, V]{next: rest, value: v, key: k}
	copy(n.inline[:], k)
	b.head.Store(n)
	if !found {
		x.keys++
	}
}

func (x *index[K, V]) delete(k K) {
	b := x.bucketOf(*x.buckets.Load(), k)
	if rest, found := without(b.head.Load(), k); found {
		b.head.Store(rest)
		x.keys--
	}
}

// without returns a chain that lacks a key. What follows the key is shared
// with the given chain, what comes before is copied: readers may be in it.
func without[K ~string, V any](chain *node[K, V], k K) (rest *node[K, V], found bool) {
	at := chain
	for at != nil && !at.has(k) {
		at = at.next
	}
	if at == nil {
		return chain, false
	}
	rest = at.next
	for n := chain; n != at; n = n.next {
		c := *n
		c.next = rest
		rest = &c
	}
	return rest, true
}

// fit rebuilds the index if its size isn't right for a number of keys.
func (x *index[K, V]) fit(keys int) {
	old := *x.buckets.Load()
	size := minBuckets
	for size < bucketsPerKey*keys {
		size *= 2
	}
	if size <= len(old) && size*shrinkAt > len(old) {
		return
	}
	buckets := make([]bucket[K, V], size)
	for i := range old {
		for n := old[i].head.Load(); n != nil; n = n.next {
			c := *n
			b := x.bucketOf(buckets, n.key)
			c.next = b.head.Load()
			b.head.Store(&c)
		}
	}
	x.buckets.Store(&buckets)
}

// batch collects changes to an index. Its own reads see its writes; other
// readers see them after commit, key by key. What goes and comes back within a
// batch is never seen to be away.
type batch[K ~string, V any] struct {
	index   *index[K, V]
	changes map[K]changed[V]
	keys    int // how many there will be
}

type changed[V any] struct {
	value   V
	present bool
}

func (x *index[K, V]) begin() *batch[K, V] {
	return &batch[K, V]{index: x, keys: x.keys}
}

func (b *batch[K, V]) get(k K) (v V, ok bool) {
	if c, touched := b.changes[k]; touched {
		return c.value, c.present
	}
	return b.index.get(k)
}

func (b *batch[K, V]) set(k K, v V) {
	if _, present := b.get(k); !present {
		b.keys++
	}
	b.change(k, changed[V]{value: v, present: true})
}

func (b *batch[K, V]) delete(k K) {
	if _, present := b.get(k); present {
		b.keys--
		b.change(k, changed[V]{})
	}
}

func (b *batch[K, V]) change(k K, c changed[V]) {
	if b.changes == nil { // most changes touch neither aliases nor namespaces
		b.changes = map[K]changed[V]{}
	}
	b.changes[k] = c
}

// commit makes the changes seen.
func (b *batch[K, V]) commit() {
	b.commitSet()
	b.commitDeleted()
}

// commitSet is the part of commit that only puts in.
func (b *batch[K, V]) commitSet() {
	if len(b.changes) == 0 {
		return
	}
	b.index.fit(max(b.keys, b.index.keys))
	for k, c := range b.changes {
		if c.present {
			b.index.set(k, c.value)
		}
	}
}

// commitDeleted is the other part.
func (b *batch[K, V]) commitDeleted() {
	for k, c := range b.changes {
		if !c.present {
			b.index.delete(k)
		}
	}
}
