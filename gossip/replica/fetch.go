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

// otherSources is how many peers that may not have a part are asked for it
// before those that must have it are asked again. A part that has just been
// published for the first time is nowhere else yet, and its watcher may have
// been too busy for the first attempt.
const otherSources = 3

// sources orders the peers to pull a cluster's part from: whoever claims to
// have it, its own watchers, then some of the others. The signature makes them
// equal.
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
	first := slices.Concat(claims, own)
	if len(own) > 0 || ofCluster(hint, cluster) != "" {
		others = others[:min(len(others), otherSources)]
	}
	return append(first, others...)
}

// source is the peer that an attempt goes to, ok is false if there is none. A
// hint from another cluster's watcher, who may be lying, counts once.
func (r *Replica) source(cluster, hint string, attempt int) (peer Peer, ok bool) {
	sources := r.sources(cluster, hint)
	if attempt >= len(sources) {
		sources = r.sources(cluster, ofCluster(hint, cluster))
	}
	if len(sources) == 0 {
		return Peer{}, false
	}
	return sources[attempt%len(sources)], true
}

func (r *Replica) fetch(ctx context.Context, cluster, hint string, attempt int, base *part) (*pulled, error) {
	peer, ok := r.source(cluster, hint, attempt)
	if !ok {
		return nil, errNoSource
	}
	conn, err := r.conns.get(peer)
	if err != nil {
		return nil, err
	}
	got, err := r.resumer.pull(ctx, conn, cluster, base)
	r.conns.put(conn, err)
	if err != nil {
		return nil, fmt.Errorf("pull of %s from %s: %w", cluster, peer.Name, err)
	}
	return got, nil
}

// pullFrom asks one peer for what differs from base.
func pullFrom(ctx context.Context, conn grpc.ClientConnInterface, s *store, cluster string, base *part) (*pulled, error) {
	got, _, err := receive(ctx, conn, s, cluster, base)
	if err != nil {
		return nil, err
	}
	return got, nil
}

// receive asks one peer for what differs from base, and bounds what it sends:
// by the limits, and by what the owner has signed for. When the answer breaks
// off it returns what came, and how many of the buckets named first are whole.
func receive(ctx context.Context, conn grpc.ClientConnInterface, s *store, cluster string, base *part) (got *pulled, whole int, err error) {
	ctx, dog, cancel := watched(ctx)
	defer cancel() // which ends a stream that is not read to its end
	got, whole, err = collect(ctx, conn, s, cluster, base, dog)
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		err = errStalled
	}
	return got, whole, err
}

// collect bounds what the peer sends: by the limits, and by what the owner has
// signed for.
func collect(ctx context.Context, conn grpc.ClientConnInterface, s *store, cluster string, base *part, dog *watchdog) (got *pulled, whole int, err error) {
	stream, err := wire.NewReplicaClient(conn).Pull(ctx, &wire.PullRequest{Cluster: cluster, BucketPrefixes: base.prefixes()})
	if err != nil {
		return nil, 0, err
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, 0, err
	}
	if len(first.Buckets) > bucketCount {
		return nil, 0, errMalformed
	}
	h, err := s.expect(cluster, first.Head)
	if err != nil {
		return nil, 0, err
	}
	a := &answer{pulled: pulled{head: first.Head, buckets: first.Buckets}, limits: s.limits, most: int(h.Items)}
	dog.progressed(minProgress) // the first message may be small
	for m := first; err == nil; m, err = stream.Recv() {
		before := a.bytes
		if err := a.add(m.Items); err != nil {
			return nil, 0, err
		}
		dog.progressed(a.bytes - before)
	}
	if errors.Is(err, io.EOF) {
		return &a.pulled, len(a.buckets), nil
	}
	return &a.pulled, a.whole(), err
}

// answer is a pull's answer while it comes.
type answer struct {
	pulled
	limits Limits
	most   int  // items that its owner has signed for
	bytes  int  // of keys and values so far
	place  int  // of the last item's bucket among those named
	mixed  bool // items don't come in the order of their buckets
}

func (a *answer) add(items []*wire.Item) error {
	for _, it := range items {
		if len(it.GetKey()) == 0 || len(it.GetKey()) > maxKey {
			return errMalformed
		}
		a.bytes += len(it.GetKey()) + len(it.GetValue())
		if len(it.GetValue()) > a.limits.RecordBytes || a.bytes > a.limits.PartBytes {
			return errTooLarge
		}
		if len(a.items) >= a.most {
			return errRoot
		}
		a.items = append(a.items, newItem(it.GetKey(), it.GetValue()))
		a.follow(byte(bucketOf(it.GetKey())))
	}
	return nil
}

// follow moves the place on to the bucket of an item.
func (a *answer) follow(bucket byte) {
	for !a.mixed && (a.place == len(a.buckets) || a.buckets[a.place] != bucket) {
		if a.place == len(a.buckets) {
			a.mixed = true
		} else {
			a.place++
		}
	}
}

// whole is how many of the buckets named first can get no more items: those
// before the last item's. Peers need not send in order; then it is none.
func (a *answer) whole() int {
	if a.mixed {
		return 0
	}
	return a.place
}
