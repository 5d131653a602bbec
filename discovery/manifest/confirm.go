package manifest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

var errStillThere = errors.New("the manifests have them")

// Confirm reads the directory anew, without what is remembered of it, and is
// nil if none of the services in gone is exported there and none of those in
// emptied has an endpoint. While a file can't be read or parsed, nobody knows
// what it takes away: that is an error, too.
func (s *Source) Confirm(ctx context.Context, gone, emptied []discovery.Key) error {
	if err := checkDir(s.dir); err != nil {
		return err
	}
	found, err := listDir(s.dir)
	if err != nil {
		return err
	}
	f := newFiles(s.dir, "", slog.New(slog.DiscardHandler), nil)
	for name, info := range found {
		if err := ctx.Err(); err != nil {
			return err
		}
		if info != nil && info.Size() == 0 {
			return fmt.Errorf("manifest is broken: %s %s", name, errEmptied.text)
		}
		problems := f.load(name)
		if known := f.byName[name]; known != nil && known.broken && len(problems) > 0 {
			return fmt.Errorf("manifest is broken: %s", problems[0])
		}
	}
	var there []string
	for _, key := range gone {
		if s.build(f.inv, key).Service != nil {
			there = append(there, string(key))
		}
	}
	for _, key := range emptied {
		if record := s.build(f.inv, key).Service; record != nil && record.Total() > 0 {
			there = append(there, string(key))
		}
	}
	if len(there) > 0 {
		slices.Sort(there)
		return fmt.Errorf("%d services, %s for one: %w", len(there), there[0], errStillThere)
	}
	return nil
}

func (s *Source) build(inv *inventory, key discovery.Key) export.Result {
	return export.Build(export.Input{
		Service: inv.service(key), Slices: inv.slicesOf(key), Export: inv.export(key), Nodes: inv.node, Opts: s.options,
	})
}
