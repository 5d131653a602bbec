package transport

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxSiblings bounds the addresses that are looked at: a cluster has two
	// or three watchers, and as many that come or go while it is rolled.
	maxSiblings = 16

	// lookEvery is how often siblings are looked up. A name that is asked for
	// and not known is looked for at once, but lookPause after the last look:
	// anybody can ask.
	lookEvery = 5 * time.Second
	lookPause = time.Second

	// asAnswered is for how long an address counts as that of the sibling that
	// last answered there. A Pod's address goes to another one sooner or later,
	// and whoever is handed a connection for somebody else says so.
	asAnswered = time.Minute

	// askTimeout bounds asking one address who it is, in the own cluster.
	askTimeout = 2 * time.Second

	// asksAtOnce bounds the cost of a look.
	asksAtOnce = 8
)

// siblings knows which watcher of our own cluster is at which address: from
// DNS the addresses, and from whoever answers there, with a certificate of our
// cluster, the name. What is gossiped has no part in it.
type siblings struct {
	t       *Transport
	targets []string // host:port
	wanted  chan struct{}

	mu      sync.Mutex
	known   map[netip.AddrPort]sibling // at most maxSiblings
	begun   time.Time                  // the last look
	looking bool
	changed chan struct{} // closed and made anew when any of these changes
}

// sibling is who was found at an address.
type sibling struct {
	name string // "" as long as nobody answers as one should
	self bool   // it is us
	at   time.Time
	err  string // the last, to log changes only
}

func newSiblings(t *Transport, targets []string) *siblings {
	return &siblings{
		t: t, targets: targets, wanted: make(chan struct{}, 1),
		known: map[netip.AddrPort]sibling{}, changed: make(chan struct{}),
	}
}

// run looks for siblings until ctx ends.
func (s *siblings) run(ctx context.Context) {
	for ctx.Err() == nil {
		s.look(ctx)
		wait := time.After(lookEvery*3/4 + rand.N(lookEvery/2))
		select {
		case <-ctx.Done():
			return
		case <-wait:
			continue
		case <-s.wanted:
		}
		s.mu.Lock()
		wait = time.After(time.Until(s.begun.Add(lookPause)))
		for addr, known := range s.known {
			if !known.self { // any other may be somebody else by now
				known.at = time.Time{}
				s.known[addr] = known
			}
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-wait:
		}
	}
}

// addr is where a sibling is, if that is known.
func (s *siblings) addr(name string) (netip.AddrPort, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addrLocked(name)
}

func (s *siblings) addrLocked(name string) (found netip.AddrPort, ok bool) {
	if name == "" {
		return found, false
	}
	for addr, known := range s.known { // two for a watcher with IPv4 and IPv6
		if known.name == name && !known.self && (!ok || addr.Compare(found) < 0) {
			found, ok = addr, true
		}
	}
	return found, ok
}

// at tells whether a sibling is at a source.
func (s *siblings) at(from source) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for addr, known := range s.known {
		if known.name != "" && sourceOf(net.TCPAddrFromAddrPort(addr)) == from {
			return true
		}
	}
	return false
}

// find is addr, and looks if need be, until ctx ends.
func (s *siblings) find(ctx context.Context, name string) (netip.AddrPort, bool) {
	asked, before := false, time.Time{}
	for {
		s.mu.Lock()
		addr, ok := s.addrLocked(name)
		ask := len(s.targets) > 0 && !s.looking && !asked
		if ask {
			before = s.begun
		}
		// Until the look that we asked for, or that goes on, has ended.
		hopeful := ask || s.looking || asked && s.begun.Equal(before)
		changed := s.changed
		s.mu.Unlock()
		if ok || !hopeful {
			return addr, ok
		}
		if ask {
			asked = true
			select {
			case s.wanted <- struct{}{}:
			default:
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return netip.AddrPort{}, false
		}
	}
}

// changedLocked wakes those who wait for news.
func (s *siblings) changedLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
	names := map[string]bool{}
	for _, k := range s.known {
		if k.name != "" {
			names[k.name] = true
		}
	}
	s.t.metrics.siblings.Set(float64(len(names)))
}

// Sibling is the address of another watcher of our own cluster, "" if it is
// not known: a shorter way than the one that it advertises, which may be a load
// balancer's that does not let its own backends in.
func (t *Transport) Sibling(name string) string {
	if addr, ok := t.siblings.addr(name); ok {
		return addr.String()
	}
	return ""
}
