package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"google.golang.org/grpc"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// errNoSource means that no peer is there to pull from.
var errNoSource = errors.New("no peer to pull from")

// newPuller makes the puller of a watcher, which pulls from its peers.
func newPuller(r *Replica) *puller {
	p := newPullerFor(r.store)
	p.fetch = r.fetch
	p.took = func(h *head) {
		r.metrics.pulls.WithLabelValues("applied").Inc()
		r.learned(h, &wire.Announcement{Head: h.bare()})
	}
	p.full = r.metrics.pulls.WithLabelValues("no_room").Inc
	p.giveUp = func(attempt int, err error) bool {
		return attempt+1 >= pullAttempts || err != nil && isRefusal(err) && attempt+1 >= refusedAttempts
	}
	p.failed = func(cluster string, attempt int, err error) {
		r.metrics.pulls.WithLabelValues("failed").Inc()
		r.log.Debug("pull failed", "cluster", cluster, "attempt", attempt, "error", err)
		if isRefusal(err) {
			r.refuse(cluster, err)
		}
		if errors.Is(err, errCloned) && cluster == r.cluster {
			r.contest(err)
		}
	}
	return p
}

// sources orders the peers to pull a cluster's part from: whoever claims to
// have it, its own watchers, then anyone. The signature makes them equal.
func (r *Replica) sources(cluster, hint string) []Peer {
	peers := slices.Clone(r.peers()) // which others may read
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	var claims, own, others []Peer
	for _, peer := range peers {
		switch {
		case peer.Name == hint:
			claims = append(claims, peer)
		case peer.Cluster == cluster:
			own = append(own, peer)
		default:
			others = append(others, peer)
		}
	}
	return append(append(claims, own...), others...)
}

func (r *Replica) fetch(ctx context.Context, cluster, hint string, attempt int, base *part) (*pulled, error) {
	sources := r.sources(cluster, hint)
	if len(sources) == 0 {
		return nil, errNoSource
	}
	peer := sources[attempt%len(sources)]
	conn, release, err := r.links.use(peer)
	if err != nil {
		return nil, err
	}
	got, err := pullFrom(ctx, conn, r.store, cluster, base)
	release(err == nil)
	if err != nil {
		return nil, fmt.Errorf("pull of %s from %s: %w", cluster, peer.Name, err)
	}
	return got, nil
}

// pullFrom asks one peer for what differs from base, and bounds what it sends:
// by the limits, and by what the owner has signed for.
func pullFrom(ctx context.Context, conn grpc.ClientConnInterface, s *store, cluster string, base *part) (*pulled, error) {
	ctx, dog, cancel := watched(ctx)
	defer cancel() // which ends a stream that is not read to its end
	got, err := receive(ctx, conn, s, cluster, base, dog)
	if err != nil && context.Cause(ctx) == errStalled {
		return nil, errStalled
	}
	return got, err
}

func receive(ctx context.Context, conn grpc.ClientConnInterface, s *store, cluster string, base *part, dog *watchdog) (*pulled, error) {
	stream, err := wire.NewReplicaClient(conn).Pull(ctx, &wire.PullRequest{Cluster: cluster, BucketPrefixes: base.prefixes()})
	if err != nil {
		return nil, err
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if len(first.Buckets) > bucketCount {
		return nil, errMalformed
	}
	h, err := s.expect(cluster, first.Head)
	if err != nil {
		return nil, err
	}
	got := &pulled{head: first.Head, buckets: first.Buckets}
	bytes := 0
	dog.progressed(minProgress) // the first message may be small
	for m := first; ; {
		before := bytes
		for _, it := range m.Items {
			if len(it.GetKey()) == 0 || len(it.GetKey()) > maxKey {
				return nil, errMalformed
			}
			bytes += len(it.GetKey()) + len(it.GetValue())
			if len(it.GetValue()) > s.limits.RecordBytes || bytes > s.limits.PartBytes {
				return nil, errTooLarge
			}
			if len(got.items) >= int(h.Items) {
				return nil, errRoot
			}
			got.items = append(got.items, newItem(it.GetKey(), it.GetValue()))
		}
		dog.progressed(bytes - before)
		if m, err = stream.Recv(); errors.Is(err, io.EOF) {
			return got, nil
		} else if err != nil {
			return nil, err
		}
	}
}
