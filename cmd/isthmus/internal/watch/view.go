package watch

import (
	"sync"

	"github.com/isthmus-dns/isthmus/gossip/replica"
)

// view is what agents are told of the cluster. Its locality comes from the
// source, its routing policy from the configuration, each when it changes.
type view struct {
	mu  sync.Mutex
	now replica.View // guarded by mu
	// tell doesn't wait. It is called with the lock held, or the older of two
	// views might be told last.
	tell func(replica.View)
}

func (v *view) change(change func(*replica.View)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change(&v.now)
	v.tell(v.now)
}
