//go:build linux

package dnsperf

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// queries in the input file, drawn from all names by a seeded generator;
// dnsperf begins anew at its end.
const queries = 20_000

func writeQueries(tb testing.TB, path string) {
	draw := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	for range queries {
		fmt.Fprintf(&text, "%s A\n", qname(draw.IntN(services)))
	}
	require.NoError(tb, os.WriteFile(path, []byte(text.String()), 0o600))
}

// sample is what one round of dnsperf against one server gave.
type sample struct {
	completed int
	cpu       time.Duration // of the server
	qps       float64
	report
}

// perQuery is the server's processor time for one query in microseconds.
func (s sample) perQuery() float64 {
	return float64(s.cpu.Nanoseconds()) / 1e3 / float64(s.completed)
}

// measure runs one round. A query that is lost or answered by an error makes
// it worthless.
func measure(tb testing.TB, dnsperf string, s *server, input string, length time.Duration) sample {
	before, err := cpuTime(s.pid)
	require.NoError(tb, err)
	r := load(tb, dnsperf, s, input, length)
	after, err := cpuTime(s.pid)
	require.NoError(tb, err)
	require.True(tb, s.alive(), "%s ended", s.name)
	return sample{completed: r.completed, cpu: after - before, qps: r.qps, report: r}
}

// load runs dnsperf with 100 queries under way, its default, from four
// sockets.
func load(tb testing.TB, dnsperf string, s *server, input string, length time.Duration) report {
	host, port, err := net.SplitHostPort(s.addr)
	require.NoError(tb, err)
	seconds := strconv.Itoa(max(1, int(length.Seconds())))
	out, err := exec.Command(dnsperf, "-s", host, "-p", port, "-d", input, "-c", "4", "-T", "1", "-l", seconds).CombinedOutput()
	require.NoError(tb, err, string(out))
	r, err := parseReport(string(out))
	require.NoError(tb, err)
	// Loopback loses a packet where the kernel's buffer is full, which on a
	// loaded machine may happen to a few; not to one in a thousand.
	require.LessOrEqual(tb, r.lost*1000, r.completed, "lost queries")
	return r
}

// report is what dnsperf says of a run.
type report struct {
	completed, lost int
	qps             float64
	response        int // average size in octets
}

var (
	completedLine = regexp.MustCompile(`(?m)^\s*Queries completed:\s+(\d+)`)
	lostLine      = regexp.MustCompile(`(?m)^\s*Queries lost:\s+(\d+)`)
	qpsLine       = regexp.MustCompile(`(?m)^\s*Queries per second:\s+([0-9.]+)`)
	codesLine     = regexp.MustCompile(`(?m)^\s*Response codes:\s+(\S.*)$`)
	sizeLine      = regexp.MustCompile(`(?m)^\s*Average packet size:\s+request \d+, response (\d+)`)
	onlyNoError   = regexp.MustCompile(`^NOERROR \d+ \(100(\.0+)?%\)$`)
)

func parseReport(text string) (report, error) {
	var r report
	var err error
	number := func(line *regexp.Regexp) float64 {
		found := line.FindStringSubmatch(text)
		if found == nil {
			err = fmt.Errorf("dnsperf: no line %q in:\n%s", line, text)
			return 0
		}
		n, parseErr := strconv.ParseFloat(found[1], 64)
		if parseErr != nil {
			err = fmt.Errorf("dnsperf: %w", parseErr)
		}
		return n
	}
	r.completed, r.lost = int(number(completedLine)), int(number(lostLine))
	r.qps, r.response = number(qpsLine), int(number(sizeLine))
	if err != nil {
		return report{}, err
	}
	codes := codesLine.FindStringSubmatch(text)
	if r.completed == 0 || codes == nil || !onlyNoError.MatchString(strings.TrimSpace(codes[1])) {
		return report{}, fmt.Errorf("dnsperf: not all answers are NOERROR:\n%s", text)
	}
	return r, nil
}

func TestParseReport(t *testing.T) {
	const good = `Statistics:

  Queries sent:         44017
  Queries completed:    44016 (100.00%)
  Queries lost:         1 (0.00%)

  Response codes:       NOERROR 44016 (100.00%)
  Average packet size:  request 45, response 86
  Run time (s):         1.004139
  Queries per second:   43834.568720

  Average Latency (s):  0.002193 (min 0.000145, max 0.013101)
  Latency StdDev (s):   0.000694
`
	tests := []struct {
		name, text string
		want       report
		wrong      string
	}{
		{"good", good, report{completed: 44016, lost: 1, qps: 43834.568720, response: 86}, ""},
		{"some failed", strings.Replace(good, "NOERROR 44016 (100.00%)", "NOERROR 44015 (100.00%), SERVFAIL 1 (0.00%)", 1), report{}, "not all answers"},
		{"all failed", strings.Replace(good, "NOERROR", "REFUSED", 1), report{}, "not all answers"},
		{"nobody answered", strings.Replace(good, "44016 (100.00%)", "0 (0.00%)", 1), report{}, "not all answers"},
		{"another program", "hello", report{}, "no line"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseReport(tc.text)
			require.Equal(t, tc.want, got)
			if tc.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.wrong)
		})
	}
}
