package config

import (
	"errors"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/isthmus-dns/isthmus/discovery/probe"
)

// health reads how other clusters' gateways are checked. Which values go
// together package probe knows.
func (d *decoder) health(to *probe.Health, n *yaml.Node, path string) {
	threshold := func(to *int) read { return d.number(probe.MaxThreshold, func(v uint64) { *to = int(v) }) }
	d.object(n, path,
		field{"interval", d.seconds(&to.Interval)},
		field{"timeout", d.seconds(&to.Timeout)},
		field{"unhealthy", threshold(&to.Unhealthy)},
		field{"healthy", threshold(&to.Healthy)},
	)
	var wrong *probe.FieldError
	if !errors.As(to.Validate(), &wrong) {
		return
	}
	if at, ok := d.sound(join(path, wrong.Field)); ok {
		d.add(at, "%s: %s", join(path, wrong.Field), wrong.Text)
	}
}

// seconds reads a short time. Zero would mean the default to package probe, and
// nobody who writes it means that.
func (d *decoder) seconds(to *time.Duration) read {
	return func(n *yaml.Node, path string) {
		s, ok := d.scalar(n, path, textOrNumber(n), "a time like 5s")
		if !ok {
			return
		}
		v, err := time.ParseDuration(s)
		if err != nil || v <= 0 {
			d.add(n, "%s: want a time like 5s or 500ms, got %q", path, clip(s))
			return
		}
		*to = v
	}
}
