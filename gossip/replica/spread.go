package replica

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// How news gets around. Its origin sends it at once to all watchers of a small
// clusterset, of a larger one to one watcher of each cluster. Whoever had it as
// news sends it on once: to its siblings, unless one of them has sent it, and to
// a random member or two, which brings it round lost packets and to clusters
// that do not reach its origin. Digests (digests.go) find what is missing still.
//
// That replaces memberlist's broadcasts, which send each message some
// 4·log10(n) times from every member, a dozen copies at 200 members, and wait
// for a tick of 200 ms at each hop.

const (
	// pushAll is up to how many peers an origin sends to all of them.
	pushAll = 64
	// pushClusters is up to how many clusters an origin sends to directly. At
	// 200 octets a heartbeat that is 2.5 KB/s.
	pushClusters = 128
	// relays is to how many random members news is sent on; among more than
	// manyPeers, where some clusters don't hear from the origin itself,
	// relaysOfMany. Of a rumour that everybody passes on to two others, four
	// in five hear, and siblings tell each other.
	relays, relaysOfMany = 1, 2
	manyPeers            = 3 * pushClusters
)

// Network is the gossip layer as the replica needs it. Its methods must not
// block and may be called at any time, also before the pool runs.
type Network interface {
	// Send sends a message to one member, best effort.
	Send(member string, msg []byte) error
	// Peers are the members of the pool that seem alive, without ourselves.
	Peers() []Peer
}

// Peer is another watcher of the clusterset.
type Peer struct {
	Name    string // "<watcher>.<cluster>"
	Cluster string
	Addr    string // host:port of its one TLS port
}

// Attach gives the replica the network to speak through. Before it the replica
// is alone.
func (r *Replica) Attach(n Network) { r.network.Store(&n) }

func (r *Replica) peers() []Peer {
	n := r.network.Load()
	if n == nil {
		return nil
	}
	return (*n).Peers()
}

// send sends a message to some peers.
func (r *Replica) send(to []Peer, msg []byte) {
	n := r.network.Load()
	if n == nil {
		return
	}
	for _, peer := range to {
		if err := (*n).Send(peer.Name, msg); err != nil {
			r.log.Debug("message not sent", "peer", peer.Name, "error", err)
		}
	}
}

// push sends our own news, and returns it as it was sent.
func (r *Replica) push(a *wire.Announcement) *wire.Announcement {
	a, msg, err := packed(a)
	if err != nil {
		r.log.Error("announcement not encoded", "error", err)
		return a
	}
	r.send(r.audience(r.peers()), msg)
	return a
}

// audience is who hears of our own news from us.
func (r *Replica) audience(peers []Peer) []Peer {
	if len(peers) <= pushAll {
		return peers
	}
	peers = r.shuffled(peers)
	var out []Peer
	reached := map[string]bool{}
	for _, peer := range peers {
		if peer.Cluster != r.cluster && (reached[peer.Cluster] || len(reached) >= pushClusters) {
			continue
		}
		if peer.Cluster != r.cluster {
			reached[peer.Cluster] = true
		}
		out = append(out, peer)
	}
	return out
}

// relay sends on what the sender brought: the message as it came, with
// whatever a later version has put in it, or its head if it is too large for a
// packet.
func (r *Replica) relay(h *head, sender string, msg []byte) {
	if len(msg) > maxMessage {
		var err error
		if msg, err = message(&wire.Announcement{Head: h.bare()}); err != nil {
			r.log.Error("announcement not encoded", "error", err)
			return
		}
	}
	r.send(r.listeners(r.peers(), h.Cluster, sender), msg)
}

// listeners is who hears of a cluster's news from us when a sender brought it.
func (r *Replica) listeners(peers []Peer, origin, sender string) []Peer {
	var out []Peer
	for _, peer := range peers {
		if peer.Cluster != r.cluster {
			continue
		}
		if peer.Name == sender || origin == r.cluster {
			out = nil // who sent it to us, or its origin, sends it to all siblings
			break
		}
		out = append(out, peer)
	}
	n := relays
	if len(peers) > manyPeers {
		n = relaysOfMany
	}
	for range n {
		peer, ok := r.someone(peers, func(p Peer) bool {
			return p.Cluster != r.cluster && p.Cluster != origin && p.Name != sender
		})
		if ok {
			out = append(out, peer)
		}
	}
	return out
}

// someone is a peer that will do, the first from a random one on.
func (r *Replica) someone(peers []Peer, will func(Peer) bool) (Peer, bool) {
	if len(peers) == 0 {
		return Peer{}, false
	}
	begin := r.random(len(peers))
	for i := range peers {
		if p := peers[(begin+i)%len(peers)]; will(p) {
			return p, true
		}
	}
	return Peer{}, false
}

// shuffled is a copy: Peers may be shared.
func (r *Replica) shuffled(peers []Peer) []Peer {
	out := slices.Clone(peers)
	for i := len(out) - 1; i > 0; i-- { // Fisher and Yates
		j := r.random(i + 1)
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// packed is an announcement that fits a packet, and its encoding: a delta that
// is too large is left out, for pulls to bring.
func packed(a *wire.Announcement) (*wire.Announcement, []byte, error) {
	msg, err := message(a)
	if err == nil && len(msg) > maxMessage {
		a = &wire.Announcement{Head: a.Head}
		msg, err = message(a)
	}
	return a, msg, err
}

func message(a *wire.Announcement) ([]byte, error) {
	return proto.Marshal(&wire.Message{Body: &wire.Message_Announcement{Announcement: a}})
}
