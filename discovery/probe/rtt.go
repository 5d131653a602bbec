package probe

import "time"

// RTT is a smoothed round-trip time: the mean and the mean deviation of
// RFC 6298 section 2, from the time that connections took. The zero RTT has no
// sample.
type RTT struct {
	Smoothed  time.Duration
	Variation time.Duration
}

const (
	// minDeviation is what a sample may always deviate, however steady the
	// ones before were: RFC 6298's clock granularity G.
	minDeviation = time.Millisecond
	// A round-trip time is told anew only when it moved by more than both of
	// these, and not within quietRTT: what orders clusters is bands of several
	// milliseconds, and each change is sent to all agents.
	toldFraction = 10 // a tenth
	toldStep     = time.Millisecond
)

// Add takes a sample in, with the gains of RFC 6298. A sample counts for at
// most Smoothed + 4·Variation, which is the time after which TCP would give it
// up for lost (section 2.3): a connection whose first packet was lost takes a
// second longer, and that is no distance (Karn's algorithm, section 3). A path
// that has really become longer raises the variation with each sample, so that
// it is followed after about ten.
func (r RTT) Add(sample time.Duration) RTT {
	sample = max(sample, 1) // 0 is "no sample"
	if r.Smoothed == 0 {
		return RTT{Smoothed: sample, Variation: sample / 2}
	}
	sample = min(sample, r.Smoothed+max(4*r.Variation, minDeviation))
	deviation := (sample - r.Smoothed).Abs()
	return RTT{
		Smoothed:  r.Smoothed + (sample-r.Smoothed)/8,
		Variation: r.Variation + (deviation-r.Variation)/4,
	}
}

// moved tells whether r is news to who was told old.
func (r RTT) moved(old RTT) bool {
	d := (r.Smoothed - old.Smoothed).Abs()
	return old.Smoothed == 0 && d > 0 || d > toldStep && d > old.Smoothed/toldFraction
}
