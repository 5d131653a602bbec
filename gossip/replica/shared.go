package replica

import (
	"runtime"
	"sync"
	"weak"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Shared lets the replicas of one process hold equal content once: records, and
// what they decode to, which are immutable and named by their digests. A
// process with one replica has no use for it; a simulation of hundreds would
// not fit into memory without. It keeps nothing alive.
type Shared struct {
	buckets  canon[bucket]
	services canon[discovery.Service]
}

// NewShared makes one that holds nothing.
func NewShared() *Shared {
	return &Shared{canon[bucket]{&sync.Map{}}, canon[discovery.Service]{&sync.Map{}}}
}

// part exchanges a part's buckets, where they differ from those of the part
// before it, for equal ones that others hold. Nobody else may know the part yet.
func (s *Shared) part(before, p *part) {
	if s == nil {
		return
	}
	for n, b := range p.buckets {
		if b != nil && (before == nil || before.buckets[n] != b) {
			p.buckets[n] = s.buckets.put(b.digest, b)
		}
	}
}

// service is what an item decodes to.
func (s *Shared) service(key discovery.Key, it item) (*discovery.Service, error) {
	if s == nil {
		return decodeService(key, it.value)
	}
	if have := s.services.get(it.leaf); have != nil {
		return have, nil
	}
	service, err := decodeService(key, it.value)
	if err != nil {
		return nil, err
	}
	return s.services.put(it.leaf, service), nil
}

// canon holds one value for each digest as long as somebody else does. The map
// is a value of its own: cleanups refer to it, and whatever it lay in would be
// kept by them, with all values that that holds.
type canon[V any] struct{ weak *sync.Map } // digest -> weak.Pointer[V]

func (c canon[V]) get(d digest) *V {
	if p, ok := c.weak.Load(d); ok {
		return p.(weak.Pointer[V]).Value()
	}
	return nil
}

// put returns the value that stands for the digest: v, unless there is one.
func (c canon[V]) put(d digest, v *V) *V {
	mine, all := weak.Make(v), c.weak
	for {
		p, loaded := all.LoadOrStore(d, mine)
		if !loaded {
			runtime.AddCleanup(v, func(d digest) { all.CompareAndDelete(d, mine) }, d)
			return v
		}
		if have := p.(weak.Pointer[V]).Value(); have != nil {
			return have
		}
		all.CompareAndDelete(d, p) // its cleanup is still to come
	}
}
