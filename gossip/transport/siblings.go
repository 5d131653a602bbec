package transport

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-dns/isthmus/gossip"
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

// look resolves the targets, and asks whoever is new there or was not asked
// for long.
func (s *siblings) look(ctx context.Context) {
	s.mu.Lock()
	s.begun, s.looking = time.Now(), true
	s.changedLocked()
	s.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(asksAtOnce)
	for _, addr := range s.sift(s.resolve(ctx)) {
		g.Go(func() error {
			s.ask(ctx, addr)
			return nil
		})
	}
	_ = g.Wait() // the goroutines give no error
	s.mu.Lock()
	s.looking = false
	s.changedLocked()
	s.mu.Unlock()
}

// resolve gives the targets' addresses, and whether none is missing because a
// look-up failed.
func (s *siblings) resolve(ctx context.Context) (found []netip.AddrPort, whole bool) {
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	whole = true
	for _, target := range s.targets {
		host, port, err := splitTarget(target)
		var ips []netip.Addr
		if ip, perr := netip.ParseAddr(host); perr == nil {
			ips = []netip.Addr{ip}
		} else if err == nil {
			ips, err = s.t.cfg.Resolver.LookupNetIP(ctx, "ip", host)
		}
		if err != nil {
			whole = false
			s.t.log.Debug("siblings not looked up", "name", target, "error", err)
		}
		for _, ip := range ips {
			found = append(found, netip.AddrPortFrom(ip.Unmap().WithZone(""), port))
		}
	}
	return found, whole
}

// sift makes the addresses found the known ones, and gives those to be asked.
func (s *siblings) sift(found []netip.AddrPort, whole bool) (ask []netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := map[netip.AddrPort]sibling{}
	for _, addr := range found {
		if len(known) < maxSiblings {
			known[addr] = s.known[addr]
		}
	}
	for addr, old := range s.known {
		if !whole && len(known) < maxSiblings {
			known[addr] = old
		}
	}
	s.known = known
	for addr, k := range known {
		if time.Since(k.at) > asAnswered {
			ask = append(ask, addr)
		}
	}
	s.changedLocked()
	return ask
}

// ask asks an address who is there.
func (s *siblings) ask(ctx context.Context, addr netip.AddrPort) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	name, err := s.t.ask(asking, addr.String())
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, gossip.ErrSelf):
		s.note(addr, sibling{self: true, at: time.Now()}, nil)
	case err != nil:
		s.forget(addr, err)
	default:
		s.note(addr, sibling{name: name, at: time.Now()}, nil)
	}
}

// forget drops the name of an address at which it was not found; the next look
// asks who is there.
func (s *siblings) forget(addr netip.AddrPort, err error) { s.note(addr, sibling{}, err) }

func (s *siblings) note(addr netip.AddrPort, now sibling, err error) {
	if err != nil {
		now.err = err.Error()
	}
	s.mu.Lock()
	old, ok := s.known[addr]
	if ok {
		s.known[addr] = now
		s.changedLocked()
	}
	s.mu.Unlock()
	switch {
	case !ok: // DNS has dropped it meanwhile
	case err != nil && old.err != now.err:
		s.t.log.Info("sibling not reached", "addr", addr.String(), "error", err)
	case now.name != "" && old.name != now.name:
		s.t.log.Info("sibling found", "peer", now.name, "addr", addr.String())
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

// splitTarget wants a host and a numeric port of 1 to 65535.
func splitTarget(s string) (host string, port uint16, err error) {
	host, p, err := net.SplitHostPort(s)
	if err == nil && host == "" {
		err = errors.New("no host")
	}
	if err != nil {
		return "", 0, fmt.Errorf("sibling %.64q: want host:port: %w", s, err)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("sibling %.64q: want host:port with a port of 1 to 65535", s)
	}
	return host, uint16(n), nil
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
