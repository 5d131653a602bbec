package locality_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

func TestNextBand(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		previous locality.Band
		rtt      time.Duration
		want     locality.Band
	}{
		{0, 0, 0},
		{5, 0, 0},
		{5, -ms, 0},
		{0, 1, 1},
		{0, ms - 1, 1},
		{0, ms, 2},
		{0, 2*ms - 1, 2},
		{0, 2 * ms, 3},
		{0, 5 * ms, 4},
		{0, 40 * ms, 7},
		{0, 120 * ms, 8},
		{0, 511 * ms, 10},
		{0, 512 * ms, 11},
		{0, math.MaxInt64, 11},
		// Half as much again beyond the ends: a third below, a half above.
		{7, 48*ms - 1, 7},
		{6, 48*ms - 1, 6},
		{6, 48 * ms, 7},
		{7, 64 * ms * 2 / 3, 7},
		{7, 32 * ms * 2 / 3, 7},
		{7, 32*ms*2/3 - 1, 6},
		{1, 1, 1},
		{1, 1500*time.Microsecond - 1, 1},
		{1, 1500 * time.Microsecond, 2},
		{11, math.MaxInt64, 11},
		{11, 342 * ms, 11},
		{11, 341 * ms, 10},
		{12, 5 * ms, 4},
		{255, 5 * ms, 4}, // no band at all
	}
	for _, tc := range tests {
		t.Run(fmt.Sprint(tc.previous, tc.rtt), func(t *testing.T) {
			require.Equal(t, tc.want, locality.NextBand(tc.previous, tc.rtt))
		})
	}
}

// 5, 40 and 120 ms are in three bands whatever bands they were in before.
func TestBandsApart(t *testing.T) {
	for previous := range locality.Band(locality.Bands + 1) {
		for other := range locality.Band(locality.Bands + 1) {
			near := locality.NextBand(previous, 5*time.Millisecond)
			middle := locality.NextBand(other, 40*time.Millisecond)
			far := locality.NextBand(previous, 120*time.Millisecond)
			require.Less(t, near, middle)
			require.Less(t, middle, far)
		}
	}
}

// Samples within 30 % of any time change its band at most once, namely when the
// first one was extreme, and never after a first one that was right.
func TestBandJitter(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for rtt := 100 * time.Microsecond; rtt < 3*time.Second; rtt += rtt / 50 {
		jitter := func(extent float64) time.Duration { return time.Duration(float64(rtt) * (1 + extent)) }
		samples := []time.Duration{jitter(0.3), jitter(-0.3), jitter(0.3), jitter(-0.3)}
		for range 200 {
			samples = append(samples, jitter(0.6*random.Float64()-0.3))
		}
		first := locality.NextBand(locality.NoBand, rtt)
		for _, sample := range samples {
			require.Equal(t, first, locality.NextBand(first, sample), "%s in %s", sample, rtt)
		}
		for _, start := range samples {
			band, changes := locality.NextBand(locality.NoBand, start), 0
			for _, sample := range samples {
				next := locality.NextBand(band, sample)
				if next != band {
					changes++
				}
				band = next
			}
			require.LessOrEqual(t, changes, 1, "%s from %s", rtt, start)
		}
	}
}

func TestBandProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		previous := locality.Band(rapid.Uint8().Draw(t, "previous"))
		rtt := time.Duration(rapid.Int64Range(1, math.MaxInt64).Draw(t, "rtt"))
		band := locality.NextBand(previous, rtt)
		require.True(t, band >= 1 && band <= locality.Bands)
		require.Equal(t, band, locality.NextBand(band, rtt), "it stays")
		slower := rtt + time.Duration(rapid.Int64Range(0, math.MaxInt64-int64(rtt)).Draw(t, "more"))
		require.GreaterOrEqual(t, locality.NextBand(previous, slower), band, "slower is never nearer")
	})
}

// Through decisions: the verdict's band goes into the next one.
func TestLatencyJitter(t *testing.T) {
	policy := policyOf(t, latency)
	candidates := readAll(t, "near us-east1 2/2 rtt=5ms\nmiddle us-central1 2/2 rtt=40ms\nfar us-west1/us-west1-a 2/2 rtt=120ms")
	truth := []time.Duration{5 * time.Millisecond, 40 * time.Millisecond, 120 * time.Millisecond}
	random := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		plan := locality.Decide(viewer, policy, candidates)
		require.Equal(t, []float64{1, 0, 0}, shares(plan))
		for i := range candidates {
			candidates[i].Band = plan.Verdicts[i].Band
			candidates[i].RTT = time.Duration(float64(truth[i]) * (0.7 + 0.6*random.Float64()))
		}
	}
}
