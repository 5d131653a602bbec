package trust

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// rotateInterval is how soon new files are seen. Kubernetes itself takes up to
// a minute to bring a Secret's change to a Pod, and certificates are renewed
// hours before they expire, so polling is soon enough and, unlike inotify,
// works on every mount.
const rotateInterval = 5 * time.Second

// Run reloads the files when they change, until ctx ends. Files that don't
// fit together (half written, another cluster's) leave the old state in force,
// are logged once per change, and are tried again: a file that could not be
// read may become readable without a change that shows.
func (i *Identity) Run(ctx context.Context, log *slog.Logger) error {
	if i.plaintext {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(rotateInterval)
	defer tick.Stop()
	for last, failed := i.stamp, ""; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := i.files.stamp()
		if now == last && failed == "" {
			continue
		}
		err := i.Reload()
		if err != nil {
			if text := err.Error(); now != last || text != failed {
				log.Error("certificate files not taken", "error", err)
				failed = text
			}
			last = now
			continue
		}
		last, failed = now, ""
		log.Info("certificate files reloaded", "id", i.id.String(), "expires", i.NotAfter())
	}
}

// Reload reads the files now. On an error the old state stays in force.
func (i *Identity) Reload() error {
	m, err := i.files.load(i.id.Clusterset)
	if err != nil {
		return err
	}
	id, err := parseID(m.svid.ID)
	if err != nil {
		return fmt.Errorf("%s: %w", i.files.Cert, err)
	}
	if id != i.id {
		return fmt.Errorf("%s: names %s, but this process is %s", i.files.Cert, id, i.id)
	}
	before := i.current.Load()
	if m.bundle.Equal(before.bundle) {
		m.signers = before.signers
	} else {
		m.signers.keep(before.signers)
	}
	i.exchange(m)
	return nil
}
