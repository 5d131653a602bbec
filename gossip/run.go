package gossip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// retransmitMult is memberlist's default: news of a member leaves
// 4 × ⌈log10(n+1)⌉ times, which reaches everybody with high probability.
const retransmitMult = 4

// Run takes part in the pool until ctx ends: it creates the membership, joins,
// and joins again for ever. Then it says farewell within Tuning.LeaveTimeout
// and returns when its goroutines have and the Handler is left alone for good.
// (A probe of memberlist's that is under way may linger for some seconds; it
// touches nothing of ours.) Run may be called once.
func (p *Pool) Run(ctx context.Context) error {
	if p.ran.Swap(true) {
		return errors.New("gossip pool: Run was called before")
	}
	advertise, ok := p.resolveAdvertise(ctx)
	if !ok {
		return nil
	}
	// The transport side outlives ctx until the farewell is said.
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	a := newAdapter(inner, ctx, p, advertise)
	defer context.AfterFunc(ctx, a.closeStreams)()
	d := &delegate{
		handler: p.cfg.Handler, roster: p.roster, inbox: p.inbox,
		metrics: p.metrics, log: p.log, deadAfter: p.cfg.Tuning.DeadTime,
	}
	lines := newLogWriter(p.log)
	list, err := memberlist.Create(p.memberlistConfig(a, d, lines))
	if err != nil {
		return fmt.Errorf("gossip pool: %w", err)
	}
	p.list.Store(list)
	var wg sync.WaitGroup
	wg.Go(a.pumpPackets)
	wg.Go(a.pumpStreams)
	wg.Go(func() { p.inbox.deliver(inner, p.cfg.Handler) })
	wg.Go(func() { p.cfg.Memory.keep(ctx, p.roster) })

	p.keepJoined(ctx, newJoiner(p, list, a))

	p.list.Store(nil)
	if err := list.Leave(p.cfg.Tuning.LeaveTimeout); err != nil {
		p.log.Info("gossip farewell not heard by all", "error", err)
	}
	cancel()
	_ = list.Shutdown() // the adapter's Shutdown gives no error
	d.close()
	wg.Wait()
	lines.closed.Store(true)
	return nil
}

func (p *Pool) memberlistConfig(a *adapter, d *delegate, lines *logWriter) *memberlist.Config {
	t := p.cfg.Tuning
	c := memberlist.DefaultWANConfig()
	c.Name = p.cfg.Name
	c.Transport = a
	c.ProtocolVersion = protocol
	c.DelegateProtocolVersion, c.DelegateProtocolMin, c.DelegateProtocolMax = delegateProtocol, delegateProtocol, delegateProtocol
	c.Delegate, c.Events, c.Alive = d, d, d
	c.Logger, c.LogOutput = lines.logger(), nil
	c.GossipInterval, c.GossipNodes = t.GossipInterval, t.GossipNodes
	c.ProbeInterval, c.ProbeTimeout = t.ProbeInterval, t.ProbeTimeout
	c.PushPullInterval = t.PushPullInterval
	c.TCPTimeout = t.StreamTimeout
	c.GossipToTheDeadTime = t.DeadTime
	// A Pod that died comes back with its name and another address.
	c.DeadNodeReclaimTime = t.DeadTime
	c.SuspicionMult = 4 // 8 s at a probe interval of 2 s and up to ten members
	c.RetransmitMult = retransmitMult
	c.UDPBufferSize = t.PacketBudget
	c.DisableTcpPings = true // packets go over TCP already
	c.EnableCompression = false
	c.DNSConfigPath = "" // it is given addresses only
	return c
}

// resolveAdvertise looks the advertised host up, for as long as it takes: at
// boot, DNS may come later than we. It prefers IPv4 when a name has both.
func (p *Pool) resolveAdvertise(ctx context.Context) (netip.AddrPort, bool) {
	wait := firstRetry
	for {
		addrs, err := p.resolve(ctx, p.cfg.Advertise)
		if err == nil {
			slices.SortFunc(addrs, netip.AddrPort.Compare) // IPv4 sorts before IPv6
			return addrs[0], true
		}
		p.log.Warn("advertised address not resolved", "address", p.cfg.Advertise, "error", err)
		select {
		case <-ctx.Done():
			return netip.AddrPort{}, false
		case <-time.After(jitter(wait)):
		}
		wait = min(2*wait, p.cfg.Tuning.RejoinInterval)
	}
}
