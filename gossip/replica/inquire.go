package replica

import (
	"context"
	"sync"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
)

const (
	// inquiryTime bounds an inquiry: the cluster is without a leader meanwhile.
	inquiryTime = time.Second
	// inquiries is how many watchers of other clusters are asked. The last
	// version reached most of them within milliseconds, so that one that has it
	// is among three if any can be reached.
	inquiries = 3
)

// inquire asks some peers, before a term begins, whether they have a later
// version of our own part than we have, and pulls it. A leader brings its last
// version to its siblings only if it knows of them (see handOver), and one that
// is killed to nobody; a version that has gone out, and that we begin without,
// peers would see withdrawn and come back.
func (r *Replica) inquire(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, inquiryTime)
	defer cancel()
	var asked sync.WaitGroup
	others := 0
	for _, peer := range r.shuffled(r.peers()) {
		if peer.Cluster != r.cluster {
			if others++; others > inquiries {
				continue
			}
		}
		asked.Go(func() {
			if v, err := r.lastAt(ctx, peer); err == nil {
				r.puller.wantClaimed(r.cluster, v, peer.Name)
			}
		})
	}
	asked.Wait()
	r.puller.caughtUpWith(ctx, r.cluster)
}

// lastAt asks a peer which version of our own part it has.
func (r *Replica) lastAt(ctx context.Context, peer Peer) (v discovery.Version, err error) {
	conn, err := r.conns.get(peer)
	if err != nil {
		return v, err
	}
	defer func() { r.conns.put(conn, err) }()
	return versionAt(ctx, conn, r.cluster)
}
