//go:build linux

package dnsperf

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tick is proc(5)'s clock tick: 100 a second on every Linux that Go knows. A
// round of 5 s at full load has 500.
const tick = 10 * time.Millisecond

// cpuTime is the processor time of a process since it started, in user and
// kernel mode.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStat(string(text))
}

// parseStat adds utime and stime, fields 14 and 15 of proc(5)'s stat.
func parseStat(text string) (time.Duration, error) {
	// The second field is the program's name in parentheses, which may hold
	// spaces and parentheses itself.
	_, rest, ok := cutLast(text, ") ")
	fields := strings.Fields(rest)
	const utime, stime = 14 - 3, 15 - 3
	if !ok || len(fields) <= stime {
		return 0, errors.New("stat of a process: not in proc(5)'s form")
	}
	var sum uint64
	for _, f := range []string{fields[utime], fields[stime]} {
		n, err := strconv.ParseUint(f, 10, 40)
		if err != nil {
			return 0, fmt.Errorf("stat of a process: %w", err)
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func TestParseStat(t *testing.T) {
	const rest = " R 31366 31366 10879 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 477057 3133440 390"
	tests := []struct {
		name, text string
		want       time.Duration
		wrong      bool
	}{
		{"plain", "31375 (cat)" + rest, 3 * time.Second, false},
		{"a name with parentheses", "31375 (a) R (b) )" + rest, 3 * time.Second, false},
		{"cut off", "31375 (cat) R 1 2 3", 0, true},
		{"not a number", strings.Replace("1 (cat)"+rest, "250", "x", 1), 0, true},
		{"empty", "", 0, true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseStat(tc.text)
			require.Equal(t, tc.wrong, err != nil)
			require.Equal(t, tc.want, got)
		})
	}
}

// The account is ours: work that this process does shows in it.
func TestCPUTimeGrows(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	require.NoError(t, err)
	n := 0
	require.Eventually(t, func() bool {
		for range 1 << 20 {
			n++
		}
		after, err := cpuTime(os.Getpid())
		require.NoError(t, err)
		return after > before
	}, 30*time.Second, time.Millisecond)
	require.Positive(t, n)
}
