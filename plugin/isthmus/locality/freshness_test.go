package locality_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

func TestJudge(t *testing.T) {
	const s, m, h = time.Second, time.Minute, time.Hour
	tests := []struct {
		name   string
		since  []time.Duration
		want   string // f, s or z for each: fresh, silent, frozen
		cutOff bool
	}{
		{"nobody else", nil, "", false},
		{"all fresh", []time.Duration{0, 5 * s, 30*s - 1}, "fff", false},
		{"one of three", []time.Duration{30 * s, 0, 0}, "sff", false},
		{"one of two is not more than half", []time.Duration{30 * s, 0}, "sf", false},
		{"two of three together", []time.Duration{40 * s, 90 * s, 0}, "zzf", true},
		{"two of three, not together", []time.Duration{40 * s, 10 * m, 0}, "ssf", false},
		{"together is five minutes", []time.Duration{40 * s, 5*m + 40*s, 0}, "zzf", true},
		{"just not together", []time.Duration{40 * s, 5*m + 41*s, 0}, "ssf", false},
		{"the only other one", []time.Duration{h}, "z", true},
		{"long gone ones count no more", []time.Duration{9 * h, 8 * h, 40 * s, 50 * s, 60 * s}, "sszzz", true},
		{"long gone ones don't make a majority", []time.Duration{9 * h, 8 * h, 40 * s, 0, 0}, "sssff", false},
		{"what turns silent later is frozen too", []time.Duration{h, h, h, 40 * s, 0}, "zzzzf", true},
		{"half is not more than half", []time.Duration{m, m, 0, 0}, "ssff", false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			states, cutOff := locality.Judge(tc.since)
			got := ""
			for _, s := range states {
				got += string("fsz"[s])
			}
			require.Equal(t, tc.want, got)
			require.Equal(t, tc.cutOff, cutOff)
		})
	}
}

func TestJudgeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		since := rapid.SliceOfN(rapid.Map(rapid.Int64(), func(n int64) time.Duration { return time.Duration(n) }), 0, 20).Draw(t, "since")
		order := rapid.Permutation(indexes(len(since))).Draw(t, "order")
		states, cutOff := locality.Judge(since)
		moved := make([]time.Duration, len(since))
		for i, at := range order {
			moved[i] = since[at]
		}
		again, _ := locality.Judge(moved)
		frozen := false
		for i, at := range order {
			require.Equal(t, states[at], again[i])
			require.Equal(t, since[at] < locality.SilentAfter, states[at] == locality.Fresh)
			frozen = frozen || states[at] == locality.Frozen
		}
		require.Equal(t, cutOff, frozen)
	})
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
