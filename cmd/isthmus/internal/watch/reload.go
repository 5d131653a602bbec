package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/config"
	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/filewatch"
	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
)

// follow takes over what changes in watcher.yaml, until ctx ends.
func (w *Watcher) follow(ctx context.Context) error {
	file := w.config.File()
	f := &filewatch.File{
		Path: file, Ask: w.reload, Log: w.log,
		Read: func() ([]byte, error) { return config.Read(file) },
	}
	return f.Run(ctx, func(text []byte, err error, asked bool) {
		var next *config.Config
		if err == nil {
			next, err = w.parse(text)
		}
		if err == nil {
			err = w.take(next, asked)
		}
		if err != nil {
			w.refuse(err)
		}
	})
}

// parse reads a configuration that may follow the one in force.
func (w *Watcher) parse(text []byte) (*config.Config, error) {
	next, err := config.Parse(w.config.File(), text)
	if err != nil {
		return nil, err
	}
	return next, errors.Join(advertised(next), publishable(next))
}

// take brings a configuration into force as far as that goes while the watcher
// runs.
func (w *Watcher) take(next *config.Config, asked bool) error {
	before := w.live.Load()
	change := withhold(before.ChangeTo(next))
	now := before.WithLive(next)
	if slices.Contains(change.Restart, "gossip.join") {
		now.Gossip.Join = before.Gossip.Join
	}
	for _, name := range change.Live {
		if err := w.changes(name, now); err != nil {
			return next.Problem(name, "%v", err)
		}
	}
	w.live.Store(now)
	if slices.Contains(change.Live, "gateways") || slices.Contains(change.Live, "locality") {
		w.source.Refresh() // it asks for the record, which is made of what is live
	}
	w.reloads.taken(change.Restart)
	if len(change.Live) > 0 || asked {
		w.log.Info("configuration reloaded", "file", w.config.File(), "changed", strings.Join(change.Live, ", "))
	}
	if len(change.Restart) > 0 {
		w.log.Warn("configuration needs a restart: these fields differ from what is in force", "file", w.config.File(), "fields", strings.Join(change.Restart, ", "))
	}
	return nil
}

// withhold keeps a watcher from joining by new seeds while the address that it
// tells others is about to be another one.
func withhold(c config.Change) config.Change {
	if i := slices.Index(c.Live, "gossip.join"); i >= 0 && slices.Contains(c.Restart, "gossip.advertise") {
		c.Live = slices.Delete(c.Live, i, i+1)
		c.Restart = append(c.Restart, "gossip.join")
	}
	return c
}

// changes brings one field into force. What could be refused here was refused
// by Parse, before anything changed.
func (w *Watcher) changes(name string, now *config.Config) error {
	switch name {
	case "routing":
		text, err := now.Routing.Encode()
		if err != nil {
			return err
		}
		w.view.change(func(v *replica.View) { v.Routing = text })
	case "health":
		return cmp.Or(w.gateways.setHealth(now.Health), w.external.SetHealth(now.Health))
	case "import":
		return w.replica.SetImport(now.Import)
	case "gossip.join":
		return w.pool.SetSeeds(seeds(now))
	}
	return nil
}

// maxLines bounds what is logged and shown of a broken file.
const maxLines = 10

// refuse tells what is wrong with the file; what was in force stays so.
func (w *Watcher) refuse(err error) {
	lines := strings.Split(err.Error(), "\n")
	if more := len(lines) - maxLines; more > 0 {
		lines = append(lines[:maxLines], fmt.Sprintf("%s: has %d more mistakes: see `isthmus check`", w.config.File(), more))
	}
	w.reloads.refused(lines)
	for _, line := range lines {
		w.log.Error("configuration not taken, the one before stays in force", "error", line)
	}
}

// publishable wants a cluster record that others take: a publisher would leave
// the cluster without one.
func publishable(c *config.Config) error {
	err := replica.Publishable(&discovery.Cluster{
		Name: c.Cluster, Network: c.Network, Locality: c.Locality, GatewaySets: c.GatewaySets(),
	})
	if err != nil {
		return c.Problem("gateways", "%v: name fewer gateways or addresses", err)
	}
	return nil
}
