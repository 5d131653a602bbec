package replica

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
)

const (
	// maxKept bounds, in octets with itemMemory, what is kept of pulls that
	// broke: 40,000 services of a usual size, and not so much that peers who
	// break off could fill a watcher's memory.
	maxKept = 12 << 20
	// itemMemory is what an item takes beside its key and value: without it, a
	// million empty ones would count for next to nothing.
	itemMemory = 72 + 16 // its struct, and what lists have in reserve
	// keptFor is longer than the pauses of a want that is still tried.
	keptFor = time.Minute
)

// resumer lets a pull go on where the one before it broke. It keeps buckets
// that came whole, and asks the next source with their digests, so that it
// sends the rest. What a hostile source made up differs from what an honest one
// has, and is replaced so; a part that still has a wrong root in the end is
// thrown away with all that was kept for it.
type resumer struct {
	store *store

	mu    sync.Mutex
	kept  map[string]*fragment // by cluster; guarded by mu
	bytes int                  // of all; guarded by mu
}

// fragment is the buckets that came whole.
type fragment struct {
	buckets map[byte][]item
	bytes   int
	since   time.Time
}

func newResumer(s *store) *resumer { return &resumer{store: s, kept: map[string]*fragment{}} }

// pull is pullFrom, with what is kept of earlier attempts.
func (r *resumer) pull(ctx context.Context, conn grpc.ClientConnInterface, cluster string, base *part) (*pulled, error) {
	have, shadow := r.take(cluster), base
	if have != nil {
		var ok bool
		if shadow, ok = base.replace(have.answer()); !ok {
			have, shadow = nil, base
		}
	}
	got, whole, err := receive(ctx, conn, r.store, cluster, shadow)
	switch {
	case err == nil && have == nil:
		return got, nil
	case err == nil:
		return have.merge(got, len(got.buckets)).pulled(got), nil
	}
	if !isRefusal(err) {
		r.keep(cluster, have.merge(got, whole))
	}
	return nil, err
}

// take hands out what is kept for a cluster: whoever takes it keeps it anew.
func (r *resumer) take(cluster string) *fragment {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.kept[cluster]
	if f != nil {
		r.dropLocked(cluster)
	}
	return f
}

// keep keeps a fragment if there is room, and drops what nobody came for.
func (r *resumer) keep(cluster string, f *fragment) {
	if f == nil || len(f.buckets) == 0 {
		return
	}
	now := time.Now()
	f.since = now
	r.mu.Lock()
	defer r.mu.Unlock()
	for old, g := range r.kept {
		if now.Sub(g.since) > keptFor {
			r.dropLocked(old)
		}
	}
	if r.kept[cluster] != nil || r.bytes+f.bytes > maxKept {
		return
	}
	r.kept[cluster] = f
	r.bytes += f.bytes
}

func (r *resumer) dropLocked(cluster string) {
	r.bytes -= r.kept[cluster].bytes
	delete(r.kept, cluster)
}

// answer is the fragment in the form of a pull's answer.
func (f *fragment) answer() (buckets []byte, items []item) {
	for n, list := range f.buckets {
		buckets = append(buckets, n)
		items = append(items, list...)
	}
	return buckets, items
}

// pulled is a pull's answer that stands for the last one and all before it.
func (f *fragment) pulled(last *pulled) *pulled {
	buckets, items := f.answer()
	return &pulled{head: last.head, buckets: buckets, items: items}
}

// merge adds the first so many buckets of an answer, in place of earlier ones.
func (f *fragment) merge(got *pulled, whole int) *fragment {
	if got == nil || whole == 0 {
		return f
	}
	out := &fragment{buckets: map[byte][]item{}}
	if f != nil {
		out.buckets = f.buckets
	}
	place := make(map[byte]bool, whole)
	for _, n := range got.buckets[:whole] {
		place[n] = true
		out.buckets[n] = nil
	}
	for _, it := range got.items {
		if n := byte(bucketOf(it.key)); place[n] {
			out.buckets[n] = append(out.buckets[n], it)
		}
	}
	for _, list := range out.buckets {
		for i := range list {
			out.bytes += len(list[i].key) + len(list[i].value) + itemMemory
		}
	}
	return out
}
