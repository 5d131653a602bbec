package external

import (
	"context"
	"sync"
	"time"

	"github.com/isthmus-dns/isthmus/discovery/probe"
)

const (
	// aimPause gathers changes of services: each makes a list of all targets.
	aimPause = 100 * time.Millisecond
	// expireEvery is how exactly the end of an inheritance is met.
	expireEvery = time.Second
)

// Lead checks until ctx ends: call it while this watcher publishes. It knows
// nothing of what it found in an earlier term, as that is long ago.
func (c *Checker) Lead(ctx context.Context) {
	var running sync.WaitGroup
	defer c.rest()
	defer running.Wait()
	c.aim()
	running.Go(func() {
		if err := c.prober.Run(ctx); err != nil {
			c.log.Error("checks of external endpoints ended", "error", err)
		}
	})
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	var aim <-chan time.Time
	var seen *probe.Snapshot
	for {
		snapshot := c.prober.Snapshot()
		if snapshot != seen {
			c.recount()
			seen = snapshot
		}
		select {
		case <-ctx.Done():
			return
		case <-snapshot.Outdated():
		case <-c.changed:
			if aim == nil {
				aim = time.After(aimPause)
			}
		case <-aim:
			aim = nil
			c.aim()
		case <-ticker.C:
			c.expire(time.Now())
		}
	}
}

// Inherit has services go by what is published of them, until there are
// verdicts of our own: a dead endpoint must not come back because another
// watcher has taken over. Call it at the beginning of a term, before anything
// is published. What changes by it is emitted before it returns.
func (c *Checker) Inherit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, s := range c.services {
		s.past = nil
		if published := c.cfg.Published(key); published != nil {
			s.past = endpointsOf(published).past()
		}
	}
	c.inherited = time.Now().Add(c.patienceLocked())
	c.recountLocked(c.prober.Snapshot(), func(*service) bool { return true })
}

// patienceLocked is how long our own verdicts may take: an interval until all
// have been checked for the first time, and what a dead one takes from there.
func (c *Checker) patienceLocked() time.Duration {
	h := c.Health()
	return h.Interval*time.Duration(h.Unhealthy+2) + time.Second
}

// expire ends an inheritance: of what couldn't be checked until now, nothing is
// known.
func (c *Checker) expire(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inherited.IsZero() || now.Before(c.inherited) {
		return
	}
	c.inherited = time.Time{}
	for _, s := range c.services {
		s.past = nil
	}
	c.recountLocked(c.prober.Snapshot(), func(*service) bool { return true })
}

// rest ends a term. What was said last is still said, should the source or the
// publisher go on for a moment.
func (c *Checker) rest() {
	c.mu.Lock()
	c.inherited, c.leftOut = time.Time{}, 0
	for _, s := range c.services {
		s.past = s.emitted.past()
	}
	c.mu.Unlock()
	c.prober.SetTargets(nil)
}
