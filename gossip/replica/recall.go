package replica

import (
	"bytes"
	"context"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// An agent may be the only one that remembers what its cluster published last:
// when the epoch store is lost and no peer is there to ask, in a clusterset of
// one cluster for instance. It would take nothing below that any more. So it
// brings its own cluster's head when it subscribes, and watchers lead above it.

// recallKey is the metadata of Subscribe that holds an encoded SignedHead. It is
// no field of the request: "-bin" metadata is what gRPC has for octets, and a
// watcher that does not know it is not bothered by it.
const recallKey = "isthmus-own-head-bin"

// maxRecalled bounds it: a head, and a chain of usual size twice over.
const maxRecalled = 32 << 10

// recalling adds what an agent has of its own cluster to a call.
func (s *Subscriber) recalling(ctx context.Context) context.Context {
	h := s.store.heads.get(s.config.Identity.ID().Cluster)
	if h == nil {
		return ctx
	}
	encoded := encodeRecalled(h)
	if len(encoded) == 0 || len(encoded) > maxRecalled {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, recallKey, string(encoded))
}

func encodeRecalled(h *head) []byte {
	encoded, err := proto.Marshal(h.signed)
	if err != nil { // it was decoded from just that
		return nil
	}
	return encoded
}

// recallFrom reads what an agent brought with its call.
func (r *Replica) recallFrom(ctx context.Context) {
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		if values := md.Get(recallKey); len(values) > 0 {
			r.recall([]byte(values[0]))
		}
	}
}

// recall takes an agent's head of our own cluster, if one of our watchers has
// signed it, and tells the publisher if it is news.
func (r *Replica) recall(encoded []byte) {
	if len(encoded) == 0 {
		return
	}
	signed := &wire.SignedHead{}
	if len(encoded) > maxRecalled || proto.Unmarshal(encoded, signed) != nil {
		r.refuse(r.cluster, errMalformed)
		return
	}
	h, err := r.store.expect(r.cluster, signed)
	if err != nil { // of before a root was changed, mostly: no news, and no attack
		r.log.Debug("own head of an agent is not taken", "error", err)
		return
	}
	if uid := r.store.owner(); uid != "" && uid != h.Uid {
		return // of another cluster under our name; agents follow their watcher there
	}
	if h.Retired {
		r.recallRetired(signed)
		return
	}
	for {
		last := r.recalled.Load()
		if last != nil && !last.version().Less(h.version()) {
			return
		}
		if r.recalled.CompareAndSwap(last, h) {
			break
		}
	}
	select {
	case r.overtaken <- struct{}{}:
	default:
	}
}

// recallRetired takes our own retirement as from a peer. To lead above it would
// bring our cluster back, which is not for us to decide.
func (r *Replica) recallRetired(signed *wire.SignedHead) {
	a := &wire.Announcement{Head: signed}
	msg, err := message(a)
	if err != nil {
		r.log.Error("announcement not encoded", "error", err)
		return
	}
	_, _ = r.take("", a, msg) // it has counted and logged what it refused
}

// outdone tells whether an agent holds what would keep it from taking our head.
func (r *Replica) outdone(h *head) bool {
	seen := r.recalled.Load()
	if seen == nil {
		return false
	}
	return h.version().Less(seen.version()) || h.version() == seen.version() && !bytes.Equal(h.Root, seen.Root)
}

// highestOwn is the highest epoch of our own cluster that is known here.
func (r *Replica) highestOwn() uint64 {
	var epoch uint64
	if h := r.store.heads.get(r.cluster); h != nil {
		epoch = h.Epoch
	}
	if h := r.recalled.Load(); h != nil {
		epoch = max(epoch, h.Epoch)
	}
	return epoch
}
