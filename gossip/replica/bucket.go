package replica

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"strings"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// item is a record with the hash of its key and value.
type item struct {
	key   string
	value []byte
	leaf  digest
}

func newItem(key string, value []byte) item {
	var usual [512]byte // most records need no more, and no memory elsewhere
	b := append(usual[:0], itemDomain...)
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = append(b, key...)
	return item{key: key, value: value, leaf: sha256.Sum256(append(b, value...))}
}

// itemSize is about what an item takes in a message: small ones are mostly key.
func itemSize(it *wire.Item) int { return len(it.Key) + len(it.Value) + itemOverhead }

// itemOverhead is a wire.Item's tags and lengths, and its own in a list.
const itemOverhead = 8

// bucket is the items whose keys share a hash octet, by key. Immutable. The
// empty bucket is nil and has the zero digest.
//
// Its items lie one after another and without their hashes: as a slice of item
// they would take 90 octets more each, half as much again as a usual record.
// The price is that they are hashed again when one of them changes.
type bucket struct {
	keys    string
	values  []byte
	ends    []end
	digest  digest
	aliases int // that its services claim
}

// end is where an item's key and value end in the bucket.
type end struct{ key, value uint32 }

// newBucket takes items in order. What they hold is copied.
func newBucket(items []item) *bucket {
	if len(items) == 0 {
		return nil
	}
	h := sha256.New()
	h.Write([]byte(bucketDomain))
	var keys strings.Builder
	last := end{}
	ends := make([]end, len(items))
	for i := range items {
		h.Write(items[i].leaf[:])
		last.key += uint32(len(items[i].key))
		last.value += uint32(len(items[i].value))
		ends[i] = last
	}
	aliases := 0
	keys.Grow(int(last.key))
	values := make([]byte, 0, last.value)
	for i := range items {
		keys.WriteString(items[i].key)
		values = append(values, items[i].value...)
		aliases += aliasCount(items[i].key, items[i].value)
	}
	return &bucket{keys: keys.String(), values: values, ends: ends, digest: digest(h.Sum(nil)), aliases: aliases}
}

// sum is the bucket's digest.
func (b *bucket) sum() digest {
	if b == nil {
		return digest{}
	}
	return b.digest
}

// size is the number of items.
func (b *bucket) size() int {
	if b == nil {
		return 0
	}
	return len(b.ends)
}

// bytes is the length of all keys and values.
func (b *bucket) bytes() int {
	if b == nil {
		return 0
	}
	return len(b.keys) + len(b.values)
}

func (b *bucket) begin(i int) end {
	if i == 0 {
		return end{}
	}
	return b.ends[i-1]
}

func (b *bucket) key(i int) string { return b.keys[b.begin(i).key:b.ends[i].key] }

func (b *bucket) value(i int) []byte {
	from, to := b.begin(i).value, b.ends[i].value
	return b.values[from:to:to]
}

// each yields keys and values in order.
func (b *bucket) each() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for i := range b.size() {
			if !yield(b.key(i), b.value(i)) {
				return
			}
		}
	}
}

// all are the items with their hashes.
func (b *bucket) all() []item {
	out := make([]item, 0, b.size())
	for key, value := range b.each() {
		out = append(out, newItem(key, value))
	}
	return out
}

// find returns the place of a key, or where it would be.
func (b *bucket) find(key string) (i int, found bool) {
	low, high := 0, b.size()
	for low < high {
		mid := (low + high) / 2
		if b.key(mid) < key {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, low < b.size() && b.key(low) == key
}
