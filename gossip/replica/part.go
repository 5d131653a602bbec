package replica

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
)

// bucketCount is fixed by the wire: the root covers so many digests. At
// 100,000 items a bucket holds 390, which is what one changed item makes us
// hash again and, at worst, what one differing item makes a peer send.
const bucketCount = 256

type digest = [sha256.Size]byte

// Strings that begin what is hashed, so that no sum of one kind can pass for
// one of another.
const (
	itemDomain   = "isthmus item v1\n"
	bucketDomain = "isthmus bucket v1\n"
	rootDomain   = "isthmus root v1\n"
)

// item is a record with the hash of its key and value.
type item struct {
	key   string
	value []byte
	leaf  digest
}

func newItem(key string, value []byte) item {
	h := sha256.New()
	h.Write([]byte(itemDomain))
	h.Write(binary.AppendUvarint(nil, uint64(len(key))))
	h.Write([]byte(key))
	h.Write(value)
	return item{key: key, value: value, leaf: digest(h.Sum(nil))}
}

// size is about what an item takes in a message: small ones are mostly key.
func (it *item) size() int { return len(it.key) + len(it.value) + itemOverhead }

// itemOverhead is a wire.Item's tags and lengths, and its own in a list.
const itemOverhead = 8

// bucket is the items whose keys share a hash octet, by key. Immutable. The
// empty bucket is nil and has the zero digest.
type bucket struct {
	items  []item
	digest digest
	bytes  int // of keys and values
}

func newBucket(items []item) *bucket {
	if len(items) == 0 {
		return nil
	}
	h := sha256.New()
	h.Write([]byte(bucketDomain))
	bytes := 0
	for i := range items {
		h.Write(items[i].leaf[:])
		bytes += len(items[i].key) + len(items[i].value)
	}
	return &bucket{items: items, digest: digest(h.Sum(nil)), bytes: bytes}
}

func bucketOf(key string) int {
	sum := sha256.Sum256([]byte(key))
	return int(sum[0])
}

// part is all items of one cluster at one version. Immutable: a change makes a
// new part that shares the untouched buckets.
type part struct {
	buckets [bucketCount]*bucket
	root    digest
	items   int
	bytes   int // of keys and values
}

// emptyPart is the part before anything was published.
var emptyPart = (&part{}).sealed()

// sealed computes what follows from the buckets.
func (p *part) sealed() *part {
	h := sha256.New()
	h.Write([]byte(rootDomain))
	p.items, p.bytes = 0, 0
	for _, b := range p.buckets {
		d := b.sum()
		h.Write(d[:])
		if b != nil {
			p.items += len(b.items)
			p.bytes += b.bytes
		}
	}
	p.root = digest(h.Sum(nil))
	return p
}

func (b *bucket) sum() digest {
	if b == nil {
		return digest{}
	}
	return b.digest
}

// with makes the part that follows when items are set and keys removed.
func (p *part) with(changed []item, removed []string) *part {
	touched := map[int]map[string]*item{} // nil item: removed
	note := func(key string, it *item) {
		n := bucketOf(key)
		if touched[n] == nil {
			touched[n] = map[string]*item{}
		}
		touched[n][key] = it
	}
	for _, key := range removed {
		note(key, nil)
	}
	for i := range changed {
		note(changed[i].key, &changed[i])
	}
	next := &part{buckets: p.buckets}
	for n, changes := range touched {
		var items []item
		if old := p.buckets[n]; old != nil {
			items = make([]item, 0, len(old.items)+len(changes))
			for _, it := range old.items {
				if _, touched := changes[it.key]; !touched {
					items = append(items, it)
				}
			}
		}
		for _, it := range changes {
			if it != nil {
				items = append(items, *it)
			}
		}
		slices.SortFunc(items, byKey)
		next.buckets[n] = newBucket(items)
	}
	return next.sealed()
}

// replace makes the part in which the named buckets hold just the given items.
// ok is false when an item lies in a bucket that is not named or stands twice.
func (p *part) replace(buckets []byte, items []item) (next *part, ok bool) {
	fresh := map[int][]item{}
	for _, n := range buckets {
		fresh[int(n)] = nil
	}
	for _, it := range items {
		n := bucketOf(it.key)
		if _, named := fresh[n]; !named {
			return nil, false
		}
		fresh[n] = append(fresh[n], it)
	}
	next = &part{buckets: p.buckets}
	for n, list := range fresh {
		slices.SortFunc(list, byKey)
		for i := 1; i < len(list); i++ {
			if list[i].key == list[i-1].key {
				return nil, false
			}
		}
		next.buckets[n] = newBucket(list)
	}
	return next.sealed(), true
}

// get returns an item's value; ok is false when the part has none.
func (p *part) get(key string) (it item, ok bool) {
	b := p.buckets[bucketOf(key)]
	if b == nil {
		return item{}, false
	}
	i, ok := slices.BinarySearchFunc(b.items, key, func(it item, k string) int { return strings.Compare(it.key, k) })
	if !ok {
		return item{}, false
	}
	return b.items[i], true
}

// diff lists what leads from one part to another.
func diff(from, to *part) (changed []item, removed []string) {
	for n := range bucketCount {
		a, b := from.buckets[n], to.buckets[n]
		if a == b || a.sum() == b.sum() {
			continue
		}
		had := map[string]digest{}
		if a != nil {
			for _, it := range a.items {
				had[it.key] = it.leaf
			}
		}
		if b != nil {
			for _, it := range b.items {
				if leaf, ok := had[it.key]; !ok || leaf != it.leaf {
					changed = append(changed, it)
				}
				delete(had, it.key)
			}
		}
		for key := range had {
			removed = append(removed, key)
		}
	}
	return changed, removed
}

// prefixLen octets of a digest are enough to see a difference; the root is
// what is relied on in the end.
const prefixLen = 8

// prefixes are the bucket digests' beginnings, one after another.
func (p *part) prefixes() []byte {
	out := make([]byte, 0, bucketCount*prefixLen)
	for _, b := range p.buckets {
		d := b.sum()
		out = append(out, d[:prefixLen]...)
	}
	return out
}

// differing names the buckets that differ from a peer's prefixes; all that are
// not empty when the peer has none.
func (p *part) differing(prefixes []byte) []byte {
	var out []byte
	for n, b := range p.buckets {
		d := b.sum()
		theirs := make([]byte, prefixLen)
		if len(prefixes) == bucketCount*prefixLen {
			theirs = prefixes[n*prefixLen : (n+1)*prefixLen]
		}
		if !bytes.Equal(theirs, d[:prefixLen]) {
			out = append(out, byte(n))
		}
	}
	return out
}

func byKey(a, b item) int { return strings.Compare(a.key, b.key) }
