package watch

import (
	"sync/atomic"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/replica"
)

// pool is the gossip pool as network needs it.
type pool interface {
	Send(member string, msg []byte) error
	// Members is the same slice as long as nothing changes.
	Members() []gossip.Member
}

// network lets the replica speak through the pool.
type network struct {
	pool
	sibling func(member string) string // the short way to a sibling, "" if there is none
	cluster string                     // our own: only its watchers are siblings
	last    atomic.Pointer[peers]
}

// peers are what Peers has made of a list of members.
type peers struct {
	of       []gossip.Member
	list     []replica.Peer
	siblings []gossip.Member
	ways     []string // to siblings
}

var _ replica.Network = (*network)(nil)

// Peers implements replica.Network. The replica asks for them with each message,
// and there may be 3,000, so the list is kept.
func (n *network) Peers() []replica.Peer {
	members := n.Members()
	if last := n.last.Load(); last != nil && last.fits(members, n.sibling) {
		return last.list
	}
	now := &peers{of: members}
	for _, m := range members {
		if m.Self {
			continue
		}
		peer := replica.Peer{Name: m.Name, Cluster: m.Cluster, Addr: m.Addr}
		if m.Cluster == n.cluster {
			way := n.sibling(m.Name)
			now.siblings, now.ways = append(now.siblings, m), append(now.ways, way)
			if way != "" {
				peer.Addr = way
			}
		}
		now.list = append(now.list, peer)
	}
	n.last.Store(now)
	return now.list
}

// fits tells whether the list is still right: it is of these very members, and
// siblings are where they were.
func (p *peers) fits(members []gossip.Member, sibling func(string) string) bool {
	if len(members) != len(p.of) || len(members) > 0 && &members[0] != &p.of[0] {
		return false
	}
	for i, m := range p.siblings {
		if sibling(m.Name) != p.ways[i] {
			return false
		}
	}
	return true
}
