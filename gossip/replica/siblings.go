package replica

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

const (
	// maxSiblings bounds the watchers of our own cluster that we listen to: two
	// or three is what people run.
	maxSiblings = 16
	// siblingsEvery is how often siblings are looked for without a word from the
	// pool: the short way to one may come later than the sibling.
	siblingsEvery = 10 * time.Second
	// unimplemented is the pause after a sibling of an older version.
	unimplemented = time.Minute
)

// FollowSiblings takes over what the watcher of our cluster finds out that checks
// gateways, until ctx ends. Nobody says who that is: all siblings are asked, and
// only the one has something to say.
func (r *Replica) FollowSiblings(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	followed := map[Peer]context.CancelFunc{}
	ticker := time.NewTicker(siblingsEvery)
	defer ticker.Stop()
	for {
		siblings := r.siblingWatchers()
		for peer, stop := range followed {
			if !slices.Contains(siblings, peer) {
				stop()
				delete(followed, peer)
			}
		}
		for _, peer := range siblings {
			if followed[peer] == nil {
				ctx, stop := context.WithCancel(ctx)
				followed[peer] = stop
				all.Go(func() { r.followSibling(ctx, peer) })
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.moved:
		case <-r.again:
			select { // whatever siblings do, not all the time
			case <-ctx.Done():
				return nil
			case <-time.After(minReconnect):
			}
			for _, stop := range followed {
				stop()
			}
			clear(followed)
		case <-ticker.C:
		}
	}
}

func (r *Replica) siblingWatchers() []Peer {
	var siblings []Peer
	for _, p := range r.peers() {
		if p.Cluster == r.cluster {
			siblings = append(siblings, p)
		}
	}
	slices.SortFunc(siblings, func(a, b Peer) int { return cmp.Compare(a.Name, b.Name) })
	return siblings[:min(len(siblings), maxSiblings)]
}

// followSibling listens to one sibling until ctx ends.
func (r *Replica) followSibling(ctx context.Context, peer Peer) {
	pause := minReconnect
	for ctx.Err() == nil {
		told, err := r.listen(ctx, peer)
		switch {
		case told:
			pause = minReconnect
		case status.Code(err) == codes.Unimplemented:
			pause = unimplemented
		}
		if err != nil && ctx.Err() == nil {
			r.log.Debug("stream from sibling ended", "sibling", peer.Name, "error", plainStatus(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, maxReconnect)
	}
}

// listen takes what a sibling says until it stops, and tells whether it said
// anything. Its error is nil when the sibling has ended the stream.
func (r *Replica) listen(ctx context.Context, peer Peer) (told bool, err error) {
	conn, err := r.conns.get(peer)
	if err != nil {
		return false, err
	}
	defer func() { r.conns.put(conn, err) }()
	from := &source{peer: peer}
	followed := ctx
	defer func() {
		// What others said while this one was listened to was not taken, or was
		// overwritten: they are to say it again. Not when we have ended the
		// stream ourselves, which is what makes them.
		if r.gateways.leave(from) && followed.Err() == nil {
			r.listenAgain()
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := wire.NewReplicaClient(conn).Gateways(ctx, &wire.GatewaysRequest{})
	if err != nil {
		return false, err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return told, nil
		}
		if err != nil {
			return told, err
		}
		if err := r.gateways.hear(from, m); err != nil {
			if !errors.Is(err, errTwoCheck) {
				r.refuse(r.cluster, err)
			}
			return false, err // not at once again
		}
		told = true
	}
}

// listenAgain has all streams from siblings opened anew, which begin with all
// that is known there.
func (r *Replica) listenAgain() {
	select {
	case r.again <- struct{}{}:
	default:
	}
}

// mayFollow: the watchers of our own cluster.
func mayFollow(own, id trust.ID) bool { return id.Cluster == own.Cluster && id.Role == trust.Watcher }

// Gateways implements the RPC.
func (s *server) Gateways(_ *wire.GatewaysRequest, stream grpc.ServerStreamingServer[wire.GatewayStates]) error {
	if _, err := s.admit(stream.Context(), mayFollow); err != nil {
		return err
	}
	select {
	case s.siblings <- struct{}{}:
		defer func() { <-s.siblings }()
	default:
		return status.Error(codes.ResourceExhausted, "too many siblings on this watcher")
	}
	var told *gatewayNews
	for {
		news := s.replica.gateways.load()
		switch {
		case news.ours:
			if m := news.since(told); m != nil {
				if err := stream.Send(m); err != nil {
					return err
				}
			}
			told = news
		case told != nil:
			return nil // what we go on with isn't ours
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-s.ending.Done():
			return status.Error(codes.Unavailable, errStopping.Error())
		case <-news.outdated:
		}
	}
}
