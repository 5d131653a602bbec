package gossip

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"

	"github.com/hashicorp/memberlist"
)

// Pool is this process's membership. Make it with New, then Run it; Send and
// Members may be called at any time, from any goroutine.
type Pool struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	roster  *roster
	inbox   *inbox

	seeds  atomic.Pointer[[]string] // host:port, immutable
	rejoin chan struct{}            // capacity 1: there are other seeds

	ran  atomic.Bool
	list atomic.Pointer[memberlist.Memberlist] // nil before and after Run
}

// maxSend is the largest message for Send: a packet less memberlist's framing.
const maxSend = MaxPacket - crcHeader - 1

// Errors of Send.
var (
	ErrUnknownMember = errors.New("no such member")
	ErrTooLarge      = errors.New("message exceeds a packet")
	ErrNotRunning    = errors.New("gossip pool is not running")
)

// New makes a pool. Nothing happens before Run.
func New(cfg Config) (*Pool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Tuning.setDefaults()
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	p := &Pool{cfg: cfg, log: cfg.Logger, roster: newRoster(cfg.Name), rejoin: make(chan struct{}, 1)}
	p.setSeeds(cfg.Join)
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if cfg.Memory != nil {
		p.roster.remember(cfg.Memory.peers)
	}
	p.metrics = newMetrics(func() float64 { return float64(len(p.roster.members())) })
	p.inbox = newInbox(p.metrics)
	if err := p.metrics.register(cfg.Registerer); err != nil {
		return nil, fmt.Errorf("gossip metrics: %w", err)
	}
	return p, nil
}

// Members are the members that are believed alive, sorted by name, this one
// included once Run has begun. The slice is shared: it must not be changed.
// Without a change since the last call it takes no lock and allocates nothing.
func (p *Pool) Members() []Member { return p.roster.members() }

// Send sends a message to one member at once, best effort: no error does not
// mean that it arrived. Errors: ErrUnknownMember, ErrTooLarge, ErrNotRunning.
func (p *Pool) Send(member string, msg []byte) error {
	list := p.list.Load()
	if list == nil {
		return ErrNotRunning
	}
	if len(msg) > maxSend {
		return fmt.Errorf("message of %d octets to %s: %w (%d)", len(msg), member, ErrTooLarge, maxSend)
	}
	addr, ok := p.roster.addr(member)
	if !ok {
		return fmt.Errorf("%.64q: %w", member, ErrUnknownMember)
	}
	return list.SendToAddress(memberlist.Address{Name: member, Addr: addr.String()}, msg)
}
