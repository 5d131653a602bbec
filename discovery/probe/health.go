package probe

import (
	"fmt"
	"time"
)

// Health is how often and how patiently a target is checked. Zero fields of a
// target take the prober's, those of a prober DefaultHealth's. Where a target's
// own and the prober's make no valid Health together, the prober's holds.
type Health struct {
	// Interval is the greatest time between the starts of two checks.
	Interval time.Duration
	// Timeout ends one check, from the first packet to the verdict.
	Timeout time.Duration
	// Unhealthy is how many checks in a row must fail until a target is down.
	Unhealthy int
	// Healthy is how many must succeed until a target that is down is up.
	Healthy int
}

// DefaultHealth notices a gateway that refuses connections within 10 s, and
// one that swallows packets within 12 s.
func DefaultHealth() Health {
	return Health{Interval: 5 * time.Second, Timeout: 2 * time.Second, Unhealthy: 3, Healthy: 2}
}

// MaxThreshold is the greatest Unhealthy and Healthy.
const MaxThreshold = 100

const (
	// grace is what the contract allows beyond Interval × Unhealthy until a
	// dead gateway is out of the answers.
	grace = time.Second
	// reserve is the part of grace that is left for whatever comes between: a
	// check that starts late, the publication, the way to the agents.
	reserve = 300 * time.Millisecond
	// minInterval keeps a slip of the pen ("5ms") from being an attack.
	minInterval = 100 * time.Millisecond
	maxInterval = time.Hour
	// early is the greatest part by which a check comes before its time, so
	// that probers and targets that started together drift apart. Never later:
	// that would break the promise.
	early = 0.1
)

// or fills zero fields.
func (h Health) or(d Health) Health {
	if h.Interval == 0 {
		h.Interval = d.Interval
	}
	if h.Timeout == 0 {
		h.Timeout = d.Timeout
	}
	if h.Unhealthy == 0 {
		h.Unhealthy = d.Unhealthy
	}
	if h.Healthy == 0 {
		h.Healthy = d.Healthy
	}
	return h
}

// healthOf is a target's own with the prober's where it has none, or all the
// prober's if the two don't go together.
func healthOf(own, prober Health) Health {
	if h := own.or(prober); h.Validate() == nil {
		return h
	}
	return prober
}

// FieldError says what is wrong with one field of a Health.
type FieldError struct {
	Field string // as in watcher.yaml: interval, timeout, unhealthy or healthy
	Text  string
}

// Error implements error.
func (e *FieldError) Error() string { return "health: " + e.Field + " " + e.Text }

// Validate says what is wrong first, as a *FieldError; zero fields stand for the
// defaults. Besides mistakes it refuses a timeout that is too long for the
// promise that a dead target is down within Interval × Unhealthy + 1 s.
func (h Health) Validate() error {
	h = h.or(DefaultHealth())
	wrong := func(field, format string, args ...any) error {
		return &FieldError{Field: field, Text: fmt.Sprintf(format, args...)}
	}
	switch {
	case h.Interval < minInterval || h.Interval > maxInterval:
		return wrong("interval", "%s: want %s to %s", h.Interval, minInterval, maxInterval)
	case h.Timeout <= 0 || h.Timeout > h.Interval:
		return wrong("timeout", "%s: want more than 0 and at most the interval, %s", h.Timeout, h.Interval)
	case h.Unhealthy < 1 || h.Unhealthy > MaxThreshold:
		return wrong("unhealthy", "%d: want 1 to %d", h.Unhealthy, MaxThreshold)
	case h.Healthy < 1 || h.Healthy > MaxThreshold:
		return wrong("healthy", "%d: want 1 to %d", h.Healthy, MaxThreshold)
	case h.period() < h.Interval/2:
		return wrong("timeout", "%s is too long for %d checks to fail within %s × %d + %s", h.Timeout, h.Unhealthy, h.Interval, h.Unhealthy, grace)
	}
	return nil
}

// doubt is the time between the starts of checks while the last one
// contradicts the state: half the interval. A target that died is noticed
// sooner than the promise wants, and an outage of half an interval does no
// harm yet.
func (h Health) doubt() time.Duration { return h.Interval / 2 }

// period is the time between the starts of checks otherwise: the interval, or
// less where only that keeps the promise. The worst case is a target that dies
// right after a good check and swallows packets from then on: a period passes,
// then each check takes its whole timeout.
func (h Health) period() time.Duration {
	promise := h.Interval*time.Duration(h.Unhealthy) + grace - reserve
	between := max(h.doubt(), h.Timeout)
	return min(h.Interval, promise-h.Timeout-between*time.Duration(h.Unhealthy-1))
}
