package replica

import (
	"bytes"
	"crypto/sha256"
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
	aliases int // that its services claim, as its records tell
}

// emptyPart is the part before anything was published.
var emptyPart = (&part{}).sealed()

// sealed computes what follows from the buckets.
func (p *part) sealed() *part {
	h := sha256.New()
	h.Write([]byte(rootDomain))
	p.items, p.bytes, p.aliases = 0, 0, 0
	for _, b := range p.buckets {
		d := b.sum()
		h.Write(d[:])
		p.items += b.size()
		p.bytes += b.bytes()
		if b != nil {
			p.aliases += b.aliases
		}
	}
	p.root = digest(h.Sum(nil))
	return p
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
		for _, it := range p.buckets[n].all() {
			if _, touched := changes[it.key]; !touched {
				items = append(items, it)
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
	i, ok := b.find(key)
	if !ok {
		return item{}, false
	}
	return newItem(b.key(i), b.value(i)), true
}

// diff lists what leads from one part to another.
func diff(from, to *part) (changed []item, removed []string) {
	for n := range bucketCount {
		a, b := from.buckets[n], to.buckets[n]
		if a == b || a.sum() == b.sum() {
			continue
		}
		for key, value := range b.each() {
			if i, had := a.find(key); !had || !bytes.Equal(a.value(i), value) {
				changed = append(changed, newItem(key, value))
			}
		}
		for key := range a.each() {
			if _, has := b.find(key); !has {
				removed = append(removed, key)
			}
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
