package replica

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

const (
	// digestEvery is how often a watcher tells some peer which versions it
	// has. Each time, what either of the two lacks is found; a change that all
	// messages of were lost is found within a few rounds. At 40 octets a
	// cluster and 100 clusters it costs 0.8 KB/s.
	digestEvery = 5 * time.Second
	// digestWindow is how many clusters such a message covers, 8 KB of them.
	digestWindow = 200
	// digestAnswers bounds the heads that one digest is answered with; the
	// rest comes with the next one.
	digestAnswers = 32
)

// sendDigests compares versions with one random peer after another until ctx
// ends. memberlist's push/pull does so too, but takes minutes to come round in
// a large pool, as it carries the member list as well.
func (r *Replica) sendDigests(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(digestEvery/2 + rand.N(digestEvery)):
		}
		peer, ok := r.someone(r.peers(), func(Peer) bool { return true })
		if !ok {
			continue
		}
		msg, err := proto.Marshal(&wire.Message{Body: &wire.Message_Digests{Digests: r.window()}})
		if err != nil {
			r.log.Error("digests not encoded", "error", err)
			continue
		}
		r.send([]Peer{peer}, msg)
	}
}

// window is what we have of some clusters: of all, where one message can say
// so.
func (r *Replica) window() *wire.Digests {
	all := r.store.heads.all()
	n := min(len(all), digestWindow)
	begin := 0
	if len(all) > n {
		begin = r.random(len(all))
	}
	w := &wire.Digests{Member: r.config.Member}
	for i := range n {
		w.Digests = append(w.Digests, all[(begin+i)%len(all)].digest())
	}
	return w
}

// compare takes a digest that came as a message: what is newer there is pulled
// from the sender, who is sent the heads that are newer here. Heartbeats that
// are newer there come as the answer to a digest of ours.
func (r *Replica) compare(sender string, w *wire.Digests) {
	if len(w.Digests) > digestWindow {
		r.refuse("", errMalformed)
		return
	}
	r.ask(w, sender, r.older)
	answers := 0
	for _, d := range w.Digests {
		h := r.store.heads.get(d.GetCluster())
		if h == nil || !h.aheadOf(d) {
			continue
		}
		if answers++; answers > digestAnswers {
			return
		}
		msg, err := message(&wire.Announcement{Head: h.bare()})
		if err != nil {
			r.log.Error("announcement not encoded", "error", err)
			return
		}
		r.send([]Peer{{Name: sender}}, msg)
	}
}

// aheadOf tells whether a peer that has said d would learn from h. One
// heartbeat more is no news: it is on its way.
func (h *head) aheadOf(d *wire.Digest) bool {
	theirs := discovery.Version{Epoch: d.GetEpoch(), Seq: d.GetSeq()}
	if v := h.version(); v != theirs {
		return theirs.Less(v)
	}
	return h.Heartbeat > d.GetHeartbeat() && h.Heartbeat-d.GetHeartbeat() > 1
}
