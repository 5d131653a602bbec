package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config is what a Pool needs. Name, Advertise, Transport and Handler must be
// given.
type Config struct {
	Name string // "<watcher>.<cluster>", unique in the clusterset
	// Advertise is the host:port at which others reach us. It is resolved once,
	// when Run starts, and holds for the life of the process: the others refuse
	// another address of a member that they believe alive.
	Advertise string
	Join      []string // seeds, host:port; resolved anew at each try. SetSeeds replaces them
	Transport Transport
	Handler   Handler
	Memory    *Memory // members that an earlier process knew are tried besides the seeds; nil: none
	Tuning    Tuning
	Resolver  Resolver // nil: net.DefaultResolver
	Logger    *slog.Logger
	// Registerer takes the metrics isthmus_gossip_*; nil: they go nowhere.
	Registerer prometheus.Registerer
}

// Resolver looks a seed's addresses up. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Tuning is how eagerly a pool works. Zero fields take DefaultTuning's values.
type Tuning struct {
	// GossipInterval is how often news of members leaves, to GossipNodes
	// random members each time. Shorter spreads faster and costs packets, but
	// only while something is queued.
	GossipInterval time.Duration
	GossipNodes    int

	// ProbeInterval is how often one member is probed, ProbeTimeout how long
	// its answer may take before others are asked to probe it.
	ProbeInterval time.Duration
	ProbeTimeout  time.Duration

	// PushPullInterval is how often digests and the member list are exchanged
	// with one random member. memberlist stretches it beyond 32 members.
	PushPullInterval time.Duration

	// RejoinInterval is how often seeds and lost members are tried.
	RejoinInterval time.Duration

	// StreamTimeout bounds a push/pull from dialing to the last octet.
	StreamTimeout time.Duration

	// LeaveTimeout bounds the farewell when Run's context ends.
	LeaveTimeout time.Duration

	// DeadTime is how long a dead member is still told the news, so that it
	// can object, and how long until its name may come back from another
	// address.
	DeadTime time.Duration

	// PacketBudget is how many octets memberlist puts in a packet, at most
	// MaxPacketBudget.
	PacketBudget int
}

// MaxPacketBudget is 8 KiB because memberlist v0.7.0 counts the messages of a
// packet in one octet and overflows it silently (sendMsg in net.go). Its
// shortest message takes 35 octets: 234 of them fit, 255 must not be exceeded.
const MaxPacketBudget = 8 << 10

// minPacketBudget leaves room for the longest message of memberlist itself.
const minPacketBudget = 1 << 10

// DefaultTuning suits watchers of clusters that lie up to 300 ms apart. A dead
// member is noticed within about 15 s; no answer depends on it.
func DefaultTuning() Tuning {
	return Tuning{
		GossipInterval:   200 * time.Millisecond, // memberlist's choice for a LAN; it is idle when nothing is queued
		GossipNodes:      3,
		ProbeInterval:    2 * time.Second,
		ProbeTimeout:     time.Second, // three round trips of 300 ms: a probe may have to open a TLS connection
		PushPullInterval: 30 * time.Second,
		RejoinInterval:   15 * time.Second,
		StreamTimeout:    10 * time.Second,
		LeaveTimeout:     2 * time.Second, // ten gossip intervals; four suffice for nine members
		DeadTime:         30 * time.Second,
		PacketBudget:     MaxPacketBudget,
	}
}

func (t *Tuning) setDefaults() {
	d := DefaultTuning()
	for _, f := range []struct{ v, def *time.Duration }{
		{&t.GossipInterval, &d.GossipInterval},
		{&t.ProbeInterval, &d.ProbeInterval},
		{&t.ProbeTimeout, &d.ProbeTimeout},
		{&t.PushPullInterval, &d.PushPullInterval},
		{&t.RejoinInterval, &d.RejoinInterval},
		{&t.StreamTimeout, &d.StreamTimeout},
		{&t.LeaveTimeout, &d.LeaveTimeout},
		{&t.DeadTime, &d.DeadTime},
	} {
		if *f.v == 0 {
			*f.v = *f.def
		}
	}
	if t.GossipNodes == 0 {
		t.GossipNodes = d.GossipNodes
	}
	if t.PacketBudget == 0 {
		t.PacketBudget = d.PacketBudget
	}
}

// Validate says what is wrong with a configuration.
func (c *Config) Validate() error {
	if _, _, err := SplitName(c.Name); err != nil {
		return err
	}
	if c.Transport == nil || c.Handler == nil {
		return errors.New("gossip pool: wants a Transport and a Handler")
	}
	if _, _, err := splitHostPort(c.Advertise); err != nil {
		return fmt.Errorf("advertised address %q: %w", c.Advertise, err)
	}
	if err := validSeeds(c.Join); err != nil {
		return err
	}
	t := c.Tuning
	t.setDefaults()
	if t.PacketBudget < minPacketBudget || t.PacketBudget > MaxPacketBudget {
		return fmt.Errorf("packet budget %d: want %d to %d", t.PacketBudget, minPacketBudget, MaxPacketBudget)
	}
	for _, d := range []time.Duration{
		t.GossipInterval, t.ProbeInterval, t.ProbeTimeout, t.PushPullInterval,
		t.RejoinInterval, t.StreamTimeout, t.LeaveTimeout, t.DeadTime,
	} {
		if d < 0 {
			return fmt.Errorf("tuning: negative duration %s", d)
		}
	}
	if t.ProbeTimeout > t.ProbeInterval {
		return fmt.Errorf("tuning: probe timeout %s exceeds probe interval %s", t.ProbeTimeout, t.ProbeInterval)
	}
	return nil
}

// splitHostPort wants a host and a numeric port of 1 to 65535.
func splitHostPort(s string) (host string, port uint16, err error) {
	host, p, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, errors.New("want host:port")
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", 0, errors.New("want host:port with a port of 1 to 65535")
	}
	return host, uint16(n), nil
}
