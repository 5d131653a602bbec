package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// Config is what a Transport needs. Listen, Name and Identity must be given.
type Config struct {
	Listen   string // host:port to bind
	Name     string // our member name, "<watcher>.<cluster>"
	Identity *trust.Identity
	// Siblings are host:port of our own cluster's watchers, this one may be
	// among them: as a rule a headless Service, which is resolved anew all the
	// time. A connection that means one of them is handed on to it. With none,
	// each watcher needs an address of its own.
	Siblings []string
	Resolver gossip.Resolver // for Siblings; nil: net.DefaultResolver
	Limits   Limits
	Logger   *slog.Logger
	// Registerer takes the metrics isthmus_transport_*; nil: they go nowhere.
	Registerer prometheus.Registerer
}

// Limits bound what peers, and those who would be peers, can take. Zero fields
// take DefaultLimits' values.
type Limits struct {
	Conns            int           // accepted connections, gRPC's included
	Handshakes       int           // connections that have not said who they are; beyond it the oldest goes
	HandshakeTimeout time.Duration // TLS and hello together
	DialTimeout      time.Duration // TCP, TLS and hello together, for packets

	Streams        int           // accepted streams at once
	StreamsPerPeer int           // of them, from one member
	StreamLife     time.Duration // from the hello to the end

	Splices          int // connections handed on to siblings at once
	SplicesPerSource int // of them, from one address (IPv6: one /64)

	PacketConnsPerPeer int           // beyond it the oldest goes
	QueuePackets       int           // that wait for one peer
	QueueOctets        int           // that wait for one peer
	WriteTimeout       time.Duration // for a batch of packets to leave, and for a frame's body to follow its header
	IdleTimeout        time.Duration // a packet connection without a packet, a splice without an octet either way

	Shares Shares // of one cluster, at once
	Rates  Rates  // of one cluster or address
}

// DefaultLimits suit a clusterset of 1,000 clusters.
func DefaultLimits() Limits {
	return Limits{
		Conns:            8192, // three watchers of 1,000 clusters, and a share of 5,000 nodes' agents
		Handshakes:       256,  // at 50 ms a handshake, 5,000 a second
		HandshakeTimeout: 5 * time.Second,
		DialTimeout:      5 * time.Second,

		Streams:        128, // as many push/pulls as memberlist accepts
		StreamsPerPeer: 8,
		StreamLife:     time.Minute,

		// With three watchers behind one address, two of three connections
		// reach the wrong one: of 3,000 peers' lasting ones that is 2,000 a
		// watcher. They may all come from one address, a load balancer's.
		Splices:          4096,
		SplicesPerSource: 3072,

		PacketConnsPerPeer: 4, // one dialed by either side, and as many that break but don't know yet
		QueuePackets:       256,
		QueueOctets:        512 << 10,
		WriteTimeout:       10 * time.Second,
		IdleTimeout:        5 * time.Minute, // heartbeats every 10 s keep a live peer's open
	}
}

func (l *Limits) setDefaults() {
	l.Shares.setDefaults()
	l.Rates.setDefaults()
	d := DefaultLimits()
	for _, f := range []struct{ v, def *int }{
		{&l.Conns, &d.Conns},
		{&l.Handshakes, &d.Handshakes},
		{&l.Streams, &d.Streams},
		{&l.StreamsPerPeer, &d.StreamsPerPeer},
		{&l.Splices, &d.Splices},
		{&l.SplicesPerSource, &d.SplicesPerSource},
		{&l.PacketConnsPerPeer, &d.PacketConnsPerPeer},
		{&l.QueuePackets, &d.QueuePackets},
		{&l.QueueOctets, &d.QueueOctets},
	} {
		if *f.v <= 0 {
			*f.v = *f.def
		}
	}
	for _, f := range []struct{ v, def *time.Duration }{
		{&l.HandshakeTimeout, &d.HandshakeTimeout},
		{&l.DialTimeout, &d.DialTimeout},
		{&l.StreamLife, &d.StreamLife},
		{&l.WriteTimeout, &d.WriteTimeout},
		{&l.IdleTimeout, &d.IdleTimeout},
	} {
		if *f.v <= 0 {
			*f.v = *f.def
		}
	}
}

// Validate says what is wrong with a configuration.
func (c *Config) Validate() error {
	if c.Identity == nil {
		return errors.New("gossip transport: wants an identity")
	}
	_, cluster, err := gossip.SplitName(c.Name)
	if err != nil {
		return err
	}
	id := c.Identity.ID()
	if id.Role != trust.Watcher {
		return fmt.Errorf("gossip transport: certificate is %s, want a watcher's", id)
	}
	if id.Cluster != cluster {
		return fmt.Errorf("gossip transport: member name %s says cluster %s, certificate names cluster %s", c.Name, cluster, id.Cluster)
	}
	for _, target := range c.Siblings {
		if _, _, err := splitTarget(target); err != nil {
			return fmt.Errorf("gossip transport: %w", err)
		}
	}
	return nil
}
