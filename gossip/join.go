package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sync/errgroup"
)

const (
	// firstRetry is how soon a lonely member tries again: watchers of several
	// clusters are often started together. It doubles up to RejoinInterval.
	firstRetry = 250 * time.Millisecond

	// maxSeedAddrs bounds how many addresses of one seed name are tried.
	maxSeedAddrs = 16

	// lostPerRound is how many lost members are tried in a round, so that a
	// thousand of them don't cost a thousand dials every RejoinInterval.
	lostPerRound = 3

	// lostWhenAlone is how many are tried as long as there is nobody else: the
	// one that answers brings all the others.
	lostWhenAlone = 8

	// joinsAtOnce bounds concurrent dials: one that hangs takes StreamTimeout.
	joinsAtOnce = 8

	// resolveTimeout bounds one DNS look-up.
	resolveTimeout = 5 * time.Second

	// settled is how many rounds a seed is left alone after a join through it
	// when no member advertises its address, because it is a load balancer's.
	settled = 8
)

// joiner is what keepJoined remembers between rounds.
type joiner struct {
	pool    *Pool
	list    *memberlist.Memberlist
	adapter *adapter

	mu     sync.Mutex
	failed map[string]string    // target -> its last error, to log changes only
	joined map[string]time.Time // target -> when a join through it succeeded
}

func newJoiner(p *Pool, list *memberlist.Memberlist, a *adapter) *joiner {
	return &joiner{pool: p, list: list, adapter: a, failed: map[string]string{}, joined: map[string]time.Time{}}
}

// keepJoined joins, and joins again, until ctx ends. memberlist forgets the
// dead after a while, so two halves of a split pool never meet by themselves.
func (p *Pool) keepJoined(ctx context.Context, j *joiner) {
	lonely := firstRetry
	for {
		j.round(ctx)
		wait := p.cfg.Tuning.RejoinInterval
		if p.lonely() && len(*p.seeds.Load())+p.cfg.Memory.Len() > 0 {
			wait, lonely = min(lonely, wait), min(2*lonely, wait)
		} else {
			lonely = firstRetry
		}
		select {
		case <-ctx.Done():
			return
		case <-p.rejoin:
			lonely = firstRetry
		case <-time.After(jitter(wait)):
		}
	}
}

// lonely tells whether no other cluster is known. Siblings find one another
// first, and must not take that for the whole.
func (p *Pool) lonely() bool {
	own := ClusterOf(p.cfg.Name)
	return !slices.ContainsFunc(p.Members(), func(m Member) bool { return m.Cluster != own })
}

// jitter spreads a wait over 75 to 125 %, so that members that were cut off
// together don't come back together.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1)
}

// round tries every seed that no live member stands for, and some lost members.
func (j *joiner) round(ctx context.Context) {
	targets := map[string]bool{}
	for _, seed := range *j.pool.seeds.Load() {
		addrs, err := j.pool.resolve(ctx, seed)
		j.note(ctx, seed, err)
		live := j.pool.roster.liveAddrs()
		for _, addr := range addrs {
			if !live[addr] && !j.leaveAlone(addr.String()) {
				targets[addr.String()] = true
			}
		}
	}
	lost := lostPerRound
	if j.pool.lonely() {
		lost = lostWhenAlone
	}
	for _, peer := range j.pool.roster.someLost(lost) {
		targets[peer.Name+"/"+peer.Addr] = true // memberlist's form of a named address
	}
	var g errgroup.Group
	g.SetLimit(joinsAtOnce)
	for target := range targets {
		g.Go(func() error {
			j.join(ctx, target)
			return nil
		})
	}
	_ = g.Wait() // the goroutines give no error
}

// leaveAlone tells whether an address led to us or, through a load balancer,
// to a member, a short while ago.
func (j *joiner) leaveAlone(addr string) bool {
	while := settled * j.pool.cfg.Tuning.RejoinInterval
	if j.adapter.ledToSelf(addr, while) {
		return true
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	at, ok := j.joined[addr]
	return ok && time.Since(at) < while && len(j.pool.Members()) > 1
}

func (j *joiner) join(ctx context.Context, target string) {
	if ctx.Err() != nil {
		return
	}
	_, err := j.list.Join([]string{target})
	if u := errors.Unwrap(err); u != nil {
		err = u // the one error in memberlist's list of errors
	}
	switch {
	case err == nil:
		j.settle(target)
		j.pool.metrics.joins.WithLabelValues("ok").Inc()
		j.pool.log.Info("gossip pool joined", "through", target, "members", len(j.pool.Members()))
	case j.adapter.ledToSelf(target, time.Minute):
		return
	default:
		j.pool.metrics.joins.WithLabelValues("error").Inc()
	}
	j.note(ctx, target, err)
}

func (j *joiner) settle(target string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.joined) >= MaxMembers {
		clear(j.joined) // they are tried once more
	}
	j.joined[target] = time.Now()
}

// note logs a target's failure when it begins or changes.
func (j *joiner) note(ctx context.Context, target string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil || ctx.Err() != nil {
		delete(j.failed, target)
		return
	}
	if text := err.Error(); j.failed[target] != text {
		if len(j.failed) >= MaxMembers {
			clear(j.failed)
		}
		j.failed[target] = text
		j.pool.log.Warn("gossip pool not joined", "through", target, "error", err)
	}
}

// resolve gives the addresses of a host:port, at most maxSeedAddrs.
func (p *Pool) resolve(ctx context.Context, hostport string) ([]netip.AddrPort, error) {
	host, port, err := splitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap().WithZone(""), port)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	ips, err := p.cfg.Resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("look-up: %w", err)
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("look-up of %s: no address", host)
	}
	var addrs []netip.AddrPort
	for _, ip := range ips[:min(len(ips), maxSeedAddrs)] {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap().WithZone(""), port))
	}
	return addrs, nil
}
