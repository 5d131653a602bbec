package isthmus

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// open makes the links of this process; tests put others in its place.
var open openFunc = subscribe

// subscribe opens a stream to the cluster's watchers, and fills the table from
// the copy on disk before anything is asked.
func subscribe(cfg linkConfig, logger *slog.Logger) (link, func(context.Context) error, error) {
	identity, err := cfg.identity()
	if err != nil {
		return nil, nil, err
	}
	s, err := replica.NewSubscriber(replica.SubscriberConfig{
		Watchers: strings.Fields(cfg.watchers), Identity: identity, Table: discovery.NewTable(),
		SnapshotDir: cfg.snapshot, Node: cfg.node, Logger: logger,
	})
	if err != nil {
		return nil, nil, err
	}
	if err := s.Restore(); err != nil {
		logger.Warn("copy of the table on disk not used", "error", err)
	}
	run := func(ctx context.Context) error {
		if identity.Plaintext() {
			return s.Run(ctx)
		}
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return identity.Run(ctx, logger) })
		g.Go(func() error { return s.Run(ctx) })
		return g.Wait()
	}
	return s, run, nil
}

// identity loads the agent's certificate, or makes one that counts nowhere
// when the stanza says insecure.
func (c linkConfig) identity() (*trust.Identity, error) {
	if c.insecure {
		if c.clusterset == "" {
			return nil, fmt.Errorf("clusterset: name it, there is no certificate to take it from (insecure)")
		}
		return trust.Insecure(trust.ID{Clusterset: c.clusterset, Cluster: "unknown", Role: trust.Agent})
	}
	return trust.Load(trust.Files{Cert: c.cert, Key: c.key, CA: c.ca}, c.clusterset)
}
