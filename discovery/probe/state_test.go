package probe

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// play feeds results to a record, one every 5 s, and draws the statuses after
// each: + good, - bad; U up, D down, ? unknown.
func play(results string) string {
	var r record
	var b strings.Builder
	now := time.Unix(1_000_000, 0)
	for _, c := range results {
		r.observe(now, c == '+', DefaultHealth(), DefaultDamping)
		b.WriteByte("?UD"[r.status])
		now = now.Add(5 * time.Second)
	}
	return b.String()
}

func TestRecord(t *testing.T) {
	tests := []struct{ name, results, want string }{
		{"the first good check is enough", "+", "U"},
		{"also after bad ones", "--+", "??U"},
		{"a new target is down by the threshold", "---", "??D"},
		{"and returns without damping, as nothing has changed before", "---++", "??DDU"},
		{"a lost probe changes nothing", "+-+--+-+", "UUUUUUUU"},
		{"three in a row are down", "++---", "UUUUD"},
		{"two good ones are up again, after damping", "+---" + "++++++", "UUUD" + "DDDDDU"},
		{"one good one isn't", "+---" + "-----" + "+-+-", "UUUD" + "DDDDD" + "DDDD"},
		{"two after a long outage are up at once", "+---" + "------" + "++", "UUUD" + "DDDDDD" + "DU"},
		// It returned at the 10th and failed at once: it stays up for 30 s, then
		// is down until it was good for all of 30 s.
		{
			"flapping", "+---++++++" + "------" + "-+++-" + "++++++++",
			"UUUDDDDDDU" + "UUUUUD" + "DDDDD" + "DDDDDDUU",
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) { require.Equal(t, tc.want, play(tc.results)) })
	}
}

// Once damping is over, a target that has failed is an outage of its own.
func TestRecordForgetsFlaps(t *testing.T) {
	long := strings.Repeat("+", 61) // a little more than ten times damping
	got := play("+---++++++" + long + "---" + "----" + "++")
	require.Equal(t, "DU", got[len(got)-2:], "two good checks are enough again")
}

// Whatever happens, changes are 30 s apart, and a status never contradicts the
// last results where damping does not hold it.
func TestRecordLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := Health{
			Unhealthy: rapid.IntRange(1, 4).Draw(t, "unhealthy"),
			Healthy:   rapid.IntRange(1, 4).Draw(t, "healthy"),
		}.or(DefaultHealth())
		var r record
		now := time.Unix(1_000_000, 0)
		var last time.Time
		for range rapid.IntRange(1, 200).Draw(t, "checks") {
			now = now.Add(time.Duration(rapid.IntRange(1, 10_000).Draw(t, "ms")) * time.Millisecond)
			was := r.status
			changed := r.observe(now, rapid.Bool().Draw(t, "good"), h, DefaultDamping)
			require.Equal(t, was != r.status, changed)
			require.True(t, r.status != Unknown || !r.good)
			if was == Unknown || !changed {
				continue
			}
			require.True(t, last.IsZero() || now.Sub(last) >= DefaultDamping, "changed after %s", now.Sub(last))
			last = now
			require.Equal(t, r.good, r.status == Up)
		}
	})
}

func TestRecordNext(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	after := func(results string, x float64) time.Duration {
		var r record
		for _, c := range results {
			r.observe(start, c == '+', DefaultHealth(), DefaultDamping)
		}
		return r.next(start, DefaultHealth(), DefaultDamping, x).Sub(start)
	}
	require.Equal(t, 5*time.Second, after("+", 0))
	require.Equal(t, 4750*time.Millisecond, after("+", 0.5), "jitter makes checks early, never late")
	require.Equal(t, 2500*time.Millisecond, after("-", 0.5), "in doubt")
	require.Equal(t, 2500*time.Millisecond, after("+--", 0.5))
	require.Equal(t, 5*time.Second, after("+---", 0), "down is no doubt")
	require.Equal(t, 2500*time.Millisecond, after("+---+", 0))
	require.Equal(t, 5*time.Second, after("+---++", 0), "held by damping")

	r := record{status: Down, changed: start.Add(-27 * time.Second), good: true, run: 2, began: start}
	require.Equal(t, 3*time.Second, r.next(start, DefaultHealth(), DefaultDamping, 0).Sub(start), "when damping ends")
}

func TestHealthValidate(t *testing.T) {
	tests := []struct {
		health Health
		want   string
	}{
		{Health{}, ""},
		{Health{Interval: time.Second, Timeout: time.Second, Unhealthy: 1}, ""},
		{Health{Unhealthy: 1}, ""},
		{Health{Interval: 99 * time.Millisecond, Timeout: time.Millisecond}, "interval 99ms"},
		{Health{Interval: 2 * time.Hour}, "interval 2h0m0s"},
		{Health{Timeout: 6 * time.Second}, "at most the interval"},
		{Health{Timeout: -1}, "timeout -1ns"},
		{Health{Unhealthy: -1}, "unhealthy -1: want 1 to 100"},
		{Health{Healthy: 101}, "healthy 101: want 1 to 100"},
		{Health{Timeout: 5 * time.Second}, "timeout 5s is too long for 3 checks to fail within 5s × 3 + 1s"},
	}
	for _, tc := range tests {
		err := tc.health.Validate()
		if tc.want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, tc.want)
		}
	}
}

func TestHealthOf(t *testing.T) {
	prober := Health{Interval: time.Second, Timeout: 500 * time.Millisecond, Unhealthy: 4, Healthy: 1}
	require.Equal(t, prober, healthOf(Health{}, prober))
	require.Equal(t, Health{3 * time.Second, 500 * time.Millisecond, 4, 1}, healthOf(Health{Interval: 3 * time.Second}, prober))
	require.Equal(t, prober, healthOf(Health{Timeout: 2 * time.Second}, prober), "longer than the interval")
}
