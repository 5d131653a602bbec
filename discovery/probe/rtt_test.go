package probe

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// RFC 6298 section 2, by hand.
func TestRTT(t *testing.T) {
	var r RTT
	r = r.Add(40 * ms)
	require.Equal(t, RTT{40 * ms, 20 * ms}, r)
	r = r.Add(48 * ms)
	require.Equal(t, RTT{41 * ms, 17 * ms}, r)
	r = r.Add(33 * ms)
	require.Equal(t, RTT{40 * ms, 14750 * time.Microsecond}, r)
	require.NotZero(t, RTT{}.Add(0).Smoothed, "0 means that there is no sample")
}

func TestRTTConverges(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, mean := range []time.Duration{5 * ms, 40 * ms, 120 * ms} {
		var r RTT
		var worst time.Duration
		for i := range 1000 {
			jitter := 1 + 0.3*(2*random.Float64()-1)
			r = r.Add(time.Duration(float64(mean) * jitter))
			if i > 50 {
				worst = max(worst, (r.Smoothed - mean).Abs())
			}
		}
		require.Less(t, worst, mean*3/20, "30 %% of jitter moves %s by less than 15 %%", mean)
	}
}

// A first packet that was lost costs a second, and is no distance.
func TestRTTLostPacket(t *testing.T) {
	var r RTT
	for range 50 {
		r = r.Add(5 * ms)
	}
	r = r.Add(1005 * ms)
	require.Less(t, r.Smoothed, 6*ms)
	for range 20 {
		r = r.Add(5 * ms)
	}
	require.InDelta(t, 5*ms, r.Smoothed, float64(ms)/10)
}

// A path that has become longer is followed within 100 s at one check in 5 s.
func TestRTTFollows(t *testing.T) {
	var r RTT
	for range 100 {
		r = r.Add(5 * ms)
	}
	for range 20 {
		r = r.Add(120 * ms)
	}
	require.Greater(t, r.Smoothed, 80*ms)
	for range 20 {
		r = r.Add(5 * ms)
	}
	require.Less(t, r.Smoothed, 20*ms)
}

func TestRTTMoved(t *testing.T) {
	tests := []struct {
		old, now time.Duration
		want     bool
	}{
		{0, ms, true}, // the first
		{0, 0, false},
		{2 * ms, 3 * ms, false}, // half, but no more than 1 ms
		{2 * ms, 3*ms + 1, true},
		{100 * ms, 109 * ms, false},
		{100 * ms, 111 * ms, true},
		{100 * ms, 89 * ms, true},
	}
	for _, tc := range tests {
		require.Equal(t, tc.want, RTT{Smoothed: tc.now}.moved(RTT{Smoothed: tc.old}), "%s to %s", tc.old, tc.now)
	}
}
