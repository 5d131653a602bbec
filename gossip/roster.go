package gossip

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// MaxMembers bounds the pool: three watchers in each of 1,000 clusters,
	// and some that were replaced a short while ago.
	MaxMembers = 4096

	// MaxPerCluster bounds how many members one cluster's name may stand for:
	// three watchers, as many that replace them while they still run, and
	// three rounds of that within the minute for which the dead count. Anyone
	// may claim members of any cluster, so those that spoke to us themselves
	// don't count and are admitted in any case, up to as many again.
	MaxPerCluster = 16

	// lostFor is how long a lost member is tried again: as long as a silent
	// cluster keeps its place in answers (DESIGN section 7, forget).
	lostFor = 24 * time.Hour

	// spokeFor is how long a member counts as alive whatever others say, after
	// a packet that it sent us itself. Watchers that are in touch send some
	// packet in each minute.
	spokeFor = time.Minute

	// farewell is how long after its leave a member's packets are no sign of
	// life: they may be its farewell, which takes 2 s (LeaveTimeout).
	farewell = 3 * time.Second
)

// Member is a member of the pool that is believed alive.
type Member struct {
	Name    string // "<watcher>.<cluster>"
	Cluster string
	Addr    string // IP:port as advertised
	Self    bool
}

// roster is the member list as memberlist's events draw it. It has its own
// lock, so that the events, which come under memberlist's, need not call back.
//
// memberlist believes anybody's word about anybody's death. The roster does
// not believe it of a member that goes on speaking to us.
type roster struct {
	self string
	snap atomic.Pointer[[]Member] // sorted by name; nil after a change, until read

	mu      sync.Mutex
	changes uint64 // counts up
	live    map[string]netip.AddrPort
	lost    map[string]lostMember // at most MaxMembers, MaxPerCluster of a cluster
	spoke   voices
	names   map[string]map[string]bool // of live and lost, by cluster
}

type lostMember struct {
	addr  netip.AddrPort
	since time.Time
	back  bool // it spoke to us since
}

func newRoster(self string) *roster {
	return &roster{
		self: self, live: map[string]netip.AddrPort{}, lost: map[string]lostMember{},
		spoke: voices{}, names: map[string]map[string]bool{},
	}
}

// join notes that a member is alive.
func (r *roster) join(name string, addr netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.lost, name)
	r.live[name] = addr
	r.nameLocked(name)
	r.changedLocked()
}

// leave notes that a member is dead or has left.
func (r *roster) leave(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	addr, ok := r.live[name]
	if !ok || name == r.self {
		return
	}
	delete(r.live, name)
	r.loseLocked(name, lostMember{addr: addr, since: time.Now()})
	r.changedLocked()
}

// remember notes members as lost that were alive, or lost for less than that,
// when the process before this one ended.
func (r *roster) remember(peers []rememberedPeer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, p := range peers {
		if _, ok := r.lost[p.name]; !ok && p.name != r.self && p.lost < lostFor {
			r.loseLocked(p.name, lostMember{addr: p.addr, since: now.Add(-p.lost)})
		}
	}
}

func (r *roster) changedLocked() {
	r.changes++
	r.snap.Store(nil)
}

func (r *roster) nameLocked(name string) {
	cluster := ClusterOf(name)
	if r.names[cluster] == nil {
		r.names[cluster] = map[string]bool{}
	}
	r.names[cluster][name] = true
}

// loseLocked adds a lost member, in place of the one of its cluster that is
// lost for longest if there are too many, and so for all clusters.
func (r *roster) loseLocked(name string, m lostMember) {
	r.lost[name] = m
	r.nameLocked(name)
	oldest, n := "", 0
	for other := range r.names[ClusterOf(name)] {
		if o, ok := r.lost[other]; ok {
			n++
			if oldest == "" || o.since.Before(r.lost[oldest].since) {
				oldest = other
			}
		}
	}
	if n > MaxPerCluster {
		r.forgetLocked(oldest)
	}
	if len(r.lost) > MaxMembers {
		r.forgetOldestLocked()
	}
}

func (r *roster) forgetOldestLocked() {
	oldest := ""
	for name, m := range r.lost {
		if oldest == "" || m.since.Before(r.lost[oldest].since) {
			oldest = name
		}
	}
	r.forgetLocked(oldest)
}

func (r *roster) forgetLocked(name string) {
	delete(r.lost, name)
	cluster := ClusterOf(name)
	delete(r.names[cluster], name)
	if len(r.names[cluster]) == 0 {
		delete(r.names, cluster)
	}
}

// admit tells whether a name may become a member. memberlist keeps dead
// members for a while, so those lost within that while count too.
func (r *roster) admit(name string, while time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.live[name]; ok || name == r.self {
		return true
	}
	return r.roomLocked(name, while) && r.clusterRoomLocked(name, while)
}

func (r *roster) roomLocked(name string, while time.Duration) bool {
	if len(r.live)+len(r.lost) < MaxMembers {
		return true
	}
	n := len(r.live)
	for lost, m := range r.lost {
		if time.Since(m.since) < while {
			if lost == name {
				return true
			}
			n++
		}
	}
	return n < MaxMembers
}

func (r *roster) clusterRoomLocked(name string, while time.Duration) bool {
	if r.spoke.fresh(name) {
		return true
	}
	n := 0
	for other := range r.names[ClusterOf(name)] {
		_, live := r.live[other]
		recent := live || time.Since(r.lost[other].since) < while
		if recent && other == name {
			return true
		}
		if recent && other != r.self && !r.spoke.fresh(other) {
			n++
		}
	}
	return n < MaxPerCluster
}

// heard notes that a member sent us a packet, and tells whether that brought
// back one that was said to be dead.
func (r *roster) heard(name string) (back bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spoke.note(name)
	m, ok := r.lost[name]
	if !ok || m.back || time.Since(m.since) < farewell {
		return false
	}
	m.back = true
	r.lost[name] = m
	r.changedLocked()
	return true
}

// addr is where a member is, alive or lost.
func (r *roster) addr(name string) (netip.AddrPort, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a, ok := r.live[name]; ok {
		return a, true
	}
	m, ok := r.lost[name]
	return m.addr, ok
}

// liveAddrs are the addresses of all live members.
func (r *roster) liveAddrs() map[netip.AddrPort]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	addrs := make(map[netip.AddrPort]bool, len(r.live))
	for _, a := range r.live {
		addrs[a] = true
	}
	return addrs
}

// someLost picks up to n lost members, of as many clusters as possible, and
// those first that still speak to us. It forgets those that are lost for too
// long. Go's map order does the picking: every round begins elsewhere. It
// leaves out those whose address a live member of their cluster speaks to us
// from, a load balancer's: that one knows better, and a watcher that was
// replaced has left its name for good.
func (r *roster) someLost(n int) []Peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	var back, first, more []Peer
	taken := map[string]bool{}
	shared := r.spokenForLocked()
	for name, m := range r.lost {
		p := Peer{Name: name, Addr: m.addr.String()}
		cluster := ClusterOf(name)
		switch {
		case m.back && r.spoke.fresh(name):
			back = append(back, p)
		case time.Since(m.since) > lostFor:
			r.forgetLocked(name)
			r.changedLocked()
			continue
		case shared[place{cluster, m.addr}]:
		case taken[cluster]:
			more = append(more, p)
		default:
			first = append(first, p)
		}
		taken[cluster] = true
		if m.back && !r.spoke.fresh(name) {
			m.back = false // it fell silent
			r.lost[name] = m
			r.changedLocked()
		}
	}
	// One place is for others: those who speak to us may never let us in.
	if rest := len(first) + len(more); n > 1 && rest > 0 && len(back) >= n {
		back = back[:n-1]
	}
	all := slices.Concat(back, first, more)
	return all[:min(n, len(all))]
}

// place is where members of a cluster are.
type place struct {
	cluster string
	addr    netip.AddrPort
}

// spokenForLocked are the places that live members speak to us from.
func (r *roster) spokenForLocked() map[place]bool {
	places := map[place]bool{}
	for name, addr := range r.live {
		if r.spoke.fresh(name) {
			places[place{ClusterOf(name), addr}] = true
		}
	}
	return places
}

// members is the snapshot, without a lock unless something changed.
func (r *roster) members() []Member {
	if s := r.snap.Load(); s != nil {
		return *s
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Member, 0, len(r.live))
	for name, addr := range r.live {
		list = append(list, Member{Name: name, Cluster: ClusterOf(name), Addr: addr.String(), Self: name == r.self})
	}
	for name, m := range r.lost {
		if m.back {
			list = append(list, Member{Name: name, Cluster: ClusterOf(name), Addr: m.addr.String()})
		}
	}
	slices.SortFunc(list, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	r.snap.Store(&list)
	return list
}

// known are all members but ourselves, alive and lost, for who comes after us,
// and a number that changes when they do.
func (r *roster) known() (peers []rememberedPeer, changes uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, addr := range r.live {
		if name != r.self {
			peers = append(peers, rememberedPeer{name: name, addr: addr})
		}
	}
	for name, m := range r.lost {
		p := rememberedPeer{name: name, addr: m.addr}
		if !m.back {
			p.lost = time.Since(m.since)
		}
		peers = append(peers, p)
	}
	return peers, r.changes
}
