package probe

import "time"

// Status is what is known of a target.
type Status uint8

// The states. Unknown counts as up for routing: nothing speaks against it.
const (
	Unknown Status = iota
	Up
	Down
	statuses // how many there are
)

// String is the status's name in _why, in metrics and in the API.
func (s Status) String() string {
	switch s {
	case Up:
		return "up"
	case Down:
		return "down"
	}
	return "unknown"
}

const (
	// DefaultDamping is the shortest time between two changes of a target.
	DefaultDamping = 30 * time.Second
	// flapping is how many times Damping a target must stay up after a return
	// for its next failure to be an outage of its own.
	flapping = 10
)

// record is a target's history as far as it matters: a pure state machine.
//
// As in Envoy, an unknown target is up with its first good check. It is down
// only after Unhealthy bad ones in a row, as in Kubernetes: a single lost
// packet says nothing, however new the target.
//
// Changes are damped, but for the verdict on an unknown target and the first
// failure after it, or after a long time up. A target that is down stays down
// for damping at least, and one that returned stays up as long. One that fails
// soon after its return is flapping: for its next return it must be good for
// all of damping.
type record struct {
	status  Status
	since   time.Time // of status
	changed time.Time // between up and down; zero until then
	good    bool      // the last result
	run     int       // how many in a row were like it
	began   time.Time // the first of them
	flaps   bool      // it failed soon after its return
	rtt     RTT
}

// observe takes a check's result in and tells whether the status changed.
func (r *record) observe(now time.Time, good bool, h Health, damping time.Duration) bool {
	if r.run == 0 || r.good != good {
		r.good, r.run, r.began = good, 0, now
	}
	r.run++
	switch {
	case r.status == Unknown && good:
		r.set(Up, now)
	case r.status == Unknown && r.run >= h.Unhealthy:
		r.set(Down, now)
	case r.status == Up && !good && r.run >= h.Unhealthy && !now.Before(r.held(damping)):
		r.flaps = !r.changed.IsZero() && now.Sub(r.changed) < flapping*damping
		r.set(Down, now)
		r.changed = now
	case r.status == Down && good && r.run >= h.Healthy && !now.Before(r.held(damping)):
		r.set(Up, now)
		r.changed = now
	default:
		return false
	}
	return true
}

func (r *record) set(s Status, now time.Time) { r.status, r.since = s, now }

// held is the time before which the status doesn't change; zero or past when
// nothing holds it.
func (r *record) held(damping time.Duration) time.Time {
	if r.changed.IsZero() {
		return time.Time{}
	}
	until := r.changed.Add(damping)
	if proven := r.began.Add(damping); r.status == Down && r.flaps && r.good && proven.After(until) {
		until = proven
	}
	return until
}

// inDoubt tells whether the last results contradict the status.
func (r *record) inDoubt() bool {
	return r.run > 0 && (r.status == Down) == r.good
}

// forget drops what was counted, and keeps the verdict: checks have paused.
func (r *record) forget() { r.run = 0 }

// next is when to check again after a check that started at start; x in [0, 1)
// is random.
func (r *record) next(start time.Time, h Health, damping time.Duration, x float64) time.Time {
	if !r.inDoubt() {
		period := h.period()
		return start.Add(period - time.Duration(x*early*float64(period)))
	}
	at := start.Add(h.doubt())
	enough := h.Unhealthy
	if r.good {
		enough = h.Healthy
	}
	if r.run < enough {
		return at
	}
	// Only damping holds the change back: check when it ends, and until then
	// as usual.
	until := r.held(damping)
	if until.Before(at) {
		return at
	}
	if usual := start.Add(h.period()); usual.Before(until) {
		return usual
	}
	return until
}
