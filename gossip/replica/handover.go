package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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
// later one: also where it has too much to do at first, or nothing of ours yet.
func (r *Replica) bringTo(ctx context.Context, peer Peer, h *head) (err error) {
	conn, err := r.conns.get(peer)
	if err != nil {
		return err
	}
	defer func() { r.conns.put(conn, err) }()
	client, told := wire.NewReplicaClient(conn), false
	a := &wire.AnnounceRequest{Announcement: &wire.Announcement{Head: h.signed}}
	for {
		if !told {
			_, err = client.Announce(ctx, a)
			told = err == nil || status.Code(err) == codes.FailedPrecondition // it may have to pull a key first
		}
		var has discovery.Version
		if told {
			has, err = versionAt(ctx, conn, h.Cluster)
		}
		switch {
		case err == nil && !has.Less(h.version()):
			return nil
		case err == nil:
			err = fmt.Errorf("it had seq %d of epoch %d", has.Seq, has.Epoch)
		case status.Code(err) != codes.ResourceExhausted && status.Code(err) != codes.NotFound:
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(handOverLook):
		}
	}
}

// versionAt asks a peer which version of a part it has.
func versionAt(ctx context.Context, conn grpc.ClientConnInterface, cluster string) (discovery.Version, error) {
	first, err := firstHead(ctx, conn, cluster)
	if err != nil {
		return discovery.Version{}, err
	}
	w := &wire.Head{}
	if err := unmarshalHead(first, w); err != nil {
		return discovery.Version{}, err
	}
	return discovery.Version{Epoch: w.Epoch, Seq: w.Seq}, nil
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
