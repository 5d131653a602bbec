package gossip

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// MaxMembers bounds the pool: three watchers in each of 1,000 clusters, and
// some that were replaced a short while ago.
const MaxMembers = 4096

// lostFor is how long a lost member is tried again: as long as a silent
// cluster keeps its place in answers (DESIGN section 7, forget).
const lostFor = 24 * time.Hour

// Member is a member of the pool that is believed alive.
type Member struct {
	Name    string // "<watcher>.<cluster>"
	Cluster string
	Addr    string // IP:port as advertised
	Self    bool
}

// roster is the member list as memberlist's events draw it. It has its own
// lock, so that the events, which come under memberlist's, need not call back.
type roster struct {
	self string
	snap atomic.Pointer[[]Member] // sorted by name; nil after a change, until read

	mu   sync.Mutex
	live map[string]netip.AddrPort
	lost map[string]lostMember // at most MaxMembers
}

type lostMember struct {
	addr  netip.AddrPort
	since time.Time
}

func newRoster(self string) *roster {
	return &roster{self: self, live: map[string]netip.AddrPort{}, lost: map[string]lostMember{}}
}

// join notes that a member is alive.
func (r *roster) join(name string, addr netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live[name] = addr
	delete(r.lost, name)
	r.snap.Store(nil)
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
	if len(r.lost) >= MaxMembers {
		r.dropOldestLocked()
	}
	r.lost[name] = lostMember{addr: addr, since: time.Now()}
	r.snap.Store(nil)
}

func (r *roster) dropOldestLocked() {
	oldest := ""
	for name, m := range r.lost {
		if oldest == "" || m.since.Before(r.lost[oldest].since) {
			oldest = name
		}
	}
	delete(r.lost, oldest)
}

// admit tells whether a name may become a member. memberlist keeps dead
// members for a while, so those lost within that while count too.
func (r *roster) admit(name string, while time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.live[name]; ok || len(r.live)+len(r.lost) < MaxMembers {
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

// someLost picks up to n lost members and forgets those that are lost for too
// long. Go's map order does the picking: every round begins elsewhere.
func (r *roster) someLost(n int) []Peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	var peers []Peer
	for name, m := range r.lost {
		if time.Since(m.since) > lostFor {
			delete(r.lost, name)
		} else if len(peers) < n {
			peers = append(peers, Peer{Name: name, Addr: m.addr.String()})
		}
	}
	return peers
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
		_, cluster, _ := strings.Cut(name, ".")
		list = append(list, Member{Name: name, Cluster: cluster, Addr: addr.String(), Self: name == r.self})
	}
	slices.SortFunc(list, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	r.snap.Store(&list)
	return list
}
