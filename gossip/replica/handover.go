package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

const (
	// handOverTime bounds a hand-over. A sibling that can't be asked for so long
	// has perhaps gone, and the cluster must not be without a leader meanwhile;
	// a Pod has 30 s to end.
	handOverTime = 2 * time.Second
	// handOverLook is how soon a sibling is asked again.
	handOverLook = 10 * time.Millisecond
)

// handOver waits until our siblings have what we published last: one of them
// begins, as soon as our term has ended, with what it has. What is still under
// way to it then, peers would see withdrawn and come back.
func (p *Publisher) handOver(ctx context.Context) {
	r := p.replica
	last := r.store.heads.get(r.cluster)
	if last == nil || last.Epoch != p.epoch.Load() || r.outdone(last) {
		return // not ours
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handOverTime)
	defer cancel()
	var asked sync.WaitGroup
	for _, peer := range r.peers() {
		if peer.Cluster != r.cluster {
			continue
		}
		asked.Go(func() {
			if err := r.bringTo(ctx, peer, last); err != nil {
				p.log.Warn("not known whether the next leader has the last version", "peer", peer.Name, "seq", last.Seq, "error", plainStatus(err))
			}
		})
	}
	asked.Wait()
}

// bringTo announces a head to a peer, and waits until it has that part or a
// later one.
func (r *Replica) bringTo(ctx context.Context, peer Peer, h *head) (err error) {
	conn, err := r.conns.get(peer)
	if err != nil {
		return err
	}
	defer func() { r.conns.put(conn, err) }()
	a := &wire.AnnounceRequest{Announcement: &wire.Announcement{Head: h.signed}}
	if _, err := wire.NewReplicaClient(conn).Announce(ctx, a); err != nil {
		return err
	}
	for {
		first, err := firstHead(ctx, conn, h.Cluster)
		if err != nil {
			return err
		}
		w := &wire.Head{}
		if err := unmarshalHead(first, w); err != nil {
			return err
		}
		if has := (discovery.Version{Epoch: w.Epoch, Seq: w.Seq}); !has.Less(h.version()) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it had seq %d of epoch %d: %w", w.Seq, w.Epoch, context.Cause(ctx))
		case <-time.After(handOverLook):
		}
	}
}

// firstHead asks a peer which version of a part it has, and for no record of it.
func firstHead(ctx context.Context, conn grpc.ClientConnInterface, cluster string) (*wire.SignedHead, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // which ends the stream
	stream, err := wire.NewReplicaClient(conn).Pull(ctx, &wire.PullRequest{Cluster: cluster})
	if err != nil {
		return nil, err
	}
	first, err := stream.Recv()
	switch {
	case err != nil:
		return nil, err
	case first.Head == nil:
		return nil, errors.New("answer without a head")
	}
	return first.Head, nil
}
