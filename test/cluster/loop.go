package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// loopPause is that between two queries of a [Loop].
const loopPause = 5 * time.Millisecond

// maxComplaints bounds what a loop remembers of what went wrong.
const maxComplaints = 10

// Expect is a question and all answers that are right.
type Expect struct {
	Query
	// Right are answers in [Answer.String]'s form.
	Right []string
}

// Loop asks an agent all the time while a test does something to its clusters.
type Loop struct {
	c      *Cluster
	cancel context.CancelFunc
	done   sync.WaitGroup
	// standstill is the longest, in nanoseconds, that the watchdog waited.
	standstill atomic.Int64

	mu         sync.Mutex
	asked      int
	stale      int
	complaints []string
	bad        int
}

// Loop starts to ask the questions in turn, one every 5 ms, until [Loop.Stop]
// or the test's end.
func (c *Cluster) Loop(questions ...Expect) *Loop {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Loop{c: c, cancel: cancel}
	l.done.Go(func() { l.run(ctx, questions) })
	l.done.Go(func() { l.watchdog(ctx) })
	c.t.Cleanup(func() {
		cancel()
		l.done.Wait()
	})
	return l
}

func (l *Loop) run(ctx context.Context, questions []Expect) {
	conn, err := dns.DialTimeout("udp", l.c.DNS, askTimeout)
	if err != nil {
		l.note(Expect{}, Answer{}, err)
		return
	}
	defer func() { conn.Close() }()
	tick := time.NewTicker(loopPause)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		q := questions[i%len(questions)]
		a, err := Exchange(conn, q.Query)
		if err != nil {
			err = fmt.Errorf("%w (%s)", err, l.alibi(q.Query))
		}
		l.note(q, a, err)
		if err != nil { // a late answer must not be taken for the next one's
			conn.Close()
			if conn, err = dns.DialTimeout("udp", l.c.DNS, askTimeout); err != nil {
				l.note(q, a, err)
				return
			}
		}
	}
}

// alibi says what a lost answer leaves open: whether the server answers when
// asked once more, over a fresh socket, and for how long this process itself
// stood still, as it does on a machine that has too much to do. It explains;
// the answer stays lost.
func (l *Loop) alibi(q Query) string {
	begun := time.Now()
	text := "no answer"
	if again, err := l.c.Ask(q); err == nil {
		text = again.String()
	}
	return fmt.Sprintf("asked again: %s after %v; longest standstill here %v",
		text, time.Since(begun).Round(time.Millisecond), time.Duration(l.standstill.Load()).Round(time.Millisecond))
}

// watchdog measures for how long this process got no time.
func (l *Loop) watchdog(ctx context.Context) {
	tick := time.NewTicker(loopPause)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		l.standstill.Store(max(l.standstill.Load(), int64(now.Sub(last))))
		last = now
	}
}

func (l *Loop) note(q Expect, a Answer, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if a.Stale {
		l.stale++
	}
	text := a.String()
	if err != nil {
		text = err.Error()
	}
	if err == nil && slices.Contains(q.Right, text) {
		return
	}
	if l.bad++; len(l.complaints) < maxComplaints {
		l.complaints = append(l.complaints, fmt.Sprintf("%s: %s %s: %s, want one of %q",
			time.Now().Format(time.StampMilli), q.Name, q.Type, text, q.Right))
	}
}

// Asked is the number of questions so far.
func (l *Loop) Asked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// Stale is the number of answers so far that were marked as stale.
func (l *Loop) Stale() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stale
}

// Goes waits until n more questions have been answered or not.
func (l *Loop) Goes(n int) {
	l.c.t.Helper()
	want := l.Asked() + n
	require.True(l.c.t, eventually(func() bool { return l.Asked() >= want }), "the query loop stands still")
}

// Stop ends the loop and wants that no answer was lost or wrong. It returns
// how many there were.
func (l *Loop) Stop() int {
	l.c.t.Helper()
	l.cancel()
	l.done.Wait()
	require.NotZero(l.c.t, l.asked)
	require.Zero(l.c.t, l.bad, "of %d answers in %s:\n%s", l.asked, l.c.Label, strings.Join(l.complaints, "\n"))
	return l.asked
}
