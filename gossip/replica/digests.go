package replica

import (
	"bytes"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// Digest is what memberlist's push/pull carries: which versions we have, at
// most 40 octets a cluster for names of usual length. It waits for nobody.
func (r *Replica) Digest() []byte {
	w := &wire.Digests{Member: r.config.Member}
	for _, h := range r.store.heads.all() {
		w.Digests = append(w.Digests, h.digest())
	}
	encoded, err := proto.Marshal(w)
	if err != nil {
		r.log.Error("digests not encoded", "error", err)
		return nil
	}
	return encoded
}

// HandleDigest takes a peer's digest and asks that peer for what is newer
// there. What it claims is unverified; a pull brings the proof.
func (r *Replica) HandleDigest(b []byte) {
	if len(b) > maxRPC {
		r.refuse("", errMalformed)
		return
	}
	w := &wire.Digests{}
	if err := proto.Unmarshal(b, w); err != nil {
		r.refuse("", errMalformed)
		return
	}
	if len(w.Digests) > 0 || !strings.HasSuffix(w.Member, "."+r.cluster) {
		// Not so a sibling that has just started, too.
		defer r.heardOnce.Do(func() { close(r.heard) })
	}
	r.ask(w, w.Member, r.lacks)
}

// ask has what we lack by a digest pulled from who sent it.
func (r *Replica) ask(w *wire.Digests, from string, lacks func(*wire.Digest) bool) {
	for i, d := range w.Digests {
		if i == r.config.Limits.Clusters {
			r.refuse("", errTooMany)
			return
		}
		if discovery.ValidLabel(d.GetCluster()) != nil {
			r.refuse("", errMalformed)
			continue
		}
		if lacks(d) {
			r.puller.wantClaimed(d.GetCluster(), discovery.Version{Epoch: d.GetEpoch(), Seq: d.GetSeq()}, from)
		}
	}
}

// lacks tells whether a peer's digest is newer than what we have. One
// heartbeat ahead is not: it is on its way to us.
func (r *Replica) lacks(d *wire.Digest) bool {
	h := r.store.heads.get(d.GetCluster())
	if h.olderThan(d) {
		return true
	}
	return (discovery.Version{Epoch: d.GetEpoch(), Seq: d.GetSeq()}) == h.version() &&
		d.GetHeartbeat() > h.Heartbeat && d.GetHeartbeat()-h.Heartbeat > 1 && bytes.Equal(d.GetRootPrefix(), h.root[:prefixLen])
}

// older tells whether our version of a cluster is older than a digest's.
func (r *Replica) older(d *wire.Digest) bool {
	return r.store.heads.get(d.GetCluster()).olderThan(d)
}

// olderThan tells whether a head is older than a digest; none is.
func (h *head) olderThan(d *wire.Digest) bool {
	return h == nil || h.version().Less(discovery.Version{Epoch: d.GetEpoch(), Seq: d.GetSeq()})
}
