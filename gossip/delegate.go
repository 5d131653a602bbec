package gossip

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Bounds on what a gossiped member may claim.
const (
	// maxMeta bounds a member's metadata. This version sends none; a later
	// one may, and memberlist's own limit of 512 octets is enforced by a
	// panic.
	maxMeta = 64

	// protocol is memberlist's protocol version that all members speak. 2 is
	// its default and says that versions up to 5 are understood.
	protocol = memberlist.ProtocolVersion2Compatible

	// delegateProtocol is the version of what members of this package say to
	// one another in user messages and digests.
	delegateProtocol = 1
)

// delegate is told by memberlist what happens, mostly under memberlist's lock:
// it only notes things and never calls back.
type delegate struct {
	handler   Handler
	roster    *roster
	inbox     *inbox
	metrics   *metrics
	log       *slog.Logger
	deadAfter time.Duration

	mu     sync.RWMutex // held for reading while the Handler's Digest runs
	closed bool
}

var (
	_ memberlist.Delegate      = (*delegate)(nil)
	_ memberlist.EventDelegate = (*delegate)(nil)
	_ memberlist.AliveDelegate = (*delegate)(nil)
)

// NodeMeta gives none.
func (d *delegate) NodeMeta(int) []byte { return nil }

// NotifyMsg is never called: the gate takes user messages out of packets and
// refuses them on streams.
func (d *delegate) NotifyMsg([]byte) {}

// GetBroadcasts gives none: messages go by Send.
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState is the Handler's digest.
func (d *delegate) LocalState(bool) []byte {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return nil
	}
	b := d.handler.Digest()
	if len(b) > MaxDigest {
		d.metrics.dropped.WithLabelValues(dropTooLarge).Inc()
		d.log.Error("digest exceeds its bound and is not sent", "octets", len(b), "bound", MaxDigest)
		return nil
	}
	return b
}

// MergeRemoteState queues a peer's digest for the Handler.
func (d *delegate) MergeRemoteState(b []byte, _ bool) { d.inbox.putDigest(b) }

// close waits for running Digest calls; after it the Handler is left alone.
func (d *delegate) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
}

// NotifyJoin notes a new member.
func (d *delegate) NotifyJoin(n *memberlist.Node) {
	addr, err := nodeAddr(n)
	if err != nil {
		return // NotifyAlive has refused it
	}
	d.roster.join(n.Name, addr)
	d.inbox.peersChanged()
}

// NotifyLeave notes that a member died or left.
func (d *delegate) NotifyLeave(n *memberlist.Node) {
	d.roster.leave(n.Name)
	d.inbox.peersChanged()
}

// NotifyUpdate is about metadata, of which we use none.
func (d *delegate) NotifyUpdate(*memberlist.Node) {}

// NotifyAlive refuses members that can't be ours. Connections are
// authenticated, the member list that comes over them is not.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	if err := d.check(n); err != nil {
		d.metrics.refused.WithLabelValues("member").Inc()
		return err
	}
	return nil
}

func (d *delegate) check(n *memberlist.Node) error {
	if _, _, err := SplitName(n.Name); err != nil {
		return err
	}
	if len(n.Meta) > maxMeta {
		return fmt.Errorf("metadata of %d octets, at most %d are allowed", len(n.Meta), maxMeta)
	}
	if _, err := nodeAddr(n); err != nil {
		return err
	}
	// One member with other versions would make memberlist refuse every
	// push/pull of every member (verifyProtocol in state.go).
	if n.PMin > protocol || n.PMax < protocol || n.PCur != protocol {
		return fmt.Errorf("protocol version %d (%d to %d), want %d", n.PCur, n.PMin, n.PMax, protocol)
	}
	if n.DMin > delegateProtocol || n.DMax < delegateProtocol || n.DCur != delegateProtocol {
		return fmt.Errorf("delegate version %d (%d to %d), want %d", n.DCur, n.DMin, n.DMax, delegateProtocol)
	}
	if !d.roster.admit(n.Name, 2*d.deadAfter) {
		return fmt.Errorf("the pool is full: %d members", MaxMembers)
	}
	return nil
}

var errAddr = errors.New("address can't be a member's")

// nodeAddr is a member's address in the form that the roster keeps. IPv4
// addresses must have four octets, as AsSlice gives them: memberlist compares
// octets.
func nodeAddr(n *memberlist.Node) (netip.AddrPort, error) {
	ip, ok := netip.AddrFromSlice(n.Addr)
	if !ok || ip.Is4In6() || ip.IsUnspecified() || ip.IsMulticast() || n.Port == 0 {
		return netip.AddrPort{}, errAddr
	}
	return netip.AddrPortFrom(ip, n.Port), nil
}
