package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-dns/isthmus/gossip"
)

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
