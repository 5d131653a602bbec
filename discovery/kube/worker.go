package kube

import (
	"k8s.io/client-go/tools/cache"

	"github.com/isthmus-dns/isthmus/discovery"
)

// maxBatch bounds one update: 256 records take 2 ms to make (BenchmarkLook), so
// what is first in a batch does not wait long for the last, and 2,000 Services
// that change together (a node goes) make 8 updates.
const maxBatch = 256

// work turns what is queued into updates until the queue is shut down.
func (w *watch) work(emit func(discovery.Update)) {
	for {
		batch := w.next()
		if len(batch) == 0 {
			return
		}
		var u discovery.Update
		for _, key := range batch {
			switch at, entry := isEntry(key); {
			case key == clusterRecord:
				u.Cluster = w.clusterRecord()
			case entry:
				w.lookAtEntry(key, at)
			default:
				w.look(key, &u)
			}
		}
		w.count()
		if u.Cluster != nil || len(u.Services) > 0 || len(u.Removed) > 0 {
			emit(u)
			w.source.metrics.updates.Inc()
		}
		for _, key := range batch {
			w.queue.Done(key)
		}
	}
}

// next waits for a change and takes along what else is queued already; it
// never waits for more. Empty when the queue is shut down.
func (w *watch) next() []cache.ObjectName {
	key, down := w.queue.Get()
	if down {
		return nil
	}
	batch := []cache.ObjectName{key}
	// Only this goroutine takes keys out, so what is there stays there.
	for len(batch) < maxBatch && w.queue.Len() > 0 {
		if key, down = w.queue.Get(); down {
			break
		}
		batch = append(batch, key)
	}
	return batch
}
