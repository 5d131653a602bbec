package isthmus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
)

func TestRefresh(t *testing.T) {
	for _, tc := range []struct {
		ttl   time.Duration
		names int
		want  time.Duration
	}{
		{0, 1, minRefresh},
		{4 * time.Second, 1, minRefresh},
		{time.Minute, 1, time.Minute},
		{time.Hour, 1, maxRefresh},
		{1<<31*time.Second - time.Second, 1, maxRefresh},
		{unknownTTL, 1, refreshUnknown},
		{0, maxNames, maxNames * perName},
		{time.Minute, maxNames, time.Minute},
	} {
		t.Run(fmt.Sprint(tc.ttl, tc.names), func(t *testing.T) {
			different := map[time.Duration]bool{}
			for range 100 {
				got := refresh(tc.ttl, tc.names)
				require.GreaterOrEqual(t, got, tc.want)
				require.Less(t, got, tc.want+tc.want/10)
				different[got] = true
			}
			require.Greater(t, len(different), 1, "agents drift apart")
		})
	}
}

// A name is looked up again when its TTL has passed, not at other times.
func TestResolverKeepsTTL(t *testing.T) {
	for ttl, want := range map[time.Duration]time.Duration{
		0: minRefresh, 20 * time.Second: 20 * time.Second, time.Minute: time.Minute, time.Hour: maxRefresh,
	} {
		t.Run(ttl.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := discovery.NewTable()
				apply(t, table, cluster("east", eastLocality, named("lb.example")), 1)
				r, d := runResolver(t, table)
				d.mu.Lock()
				d.ttl = ttl
				d.mu.Unlock()
				d.set("lb.example", addrs("192.0.2.1")...)
				r.Addrs("east", "lb.example") // the first lookup may have failed
				time.Sleep(retryNames + 2*resolveTick)
				const rounds = 20
				before := d.count("lb.example")
				time.Sleep(rounds * want)
				got := d.count("lb.example") - before
				require.LessOrEqual(t, got, rounds+1)
				require.GreaterOrEqual(t, got, int(rounds*want/longestWait(want)))
			})
		})
	}
}

func TestResolverFamilies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := discovery.NewTable()
		r, d := runResolver(t, table)
		d.fail("ip6", errors.New("server misbehaving"))
		d.set("lb.example", addrs("192.0.2.1", "2001:db8::1")...)
		apply(t, table, cluster("east", eastLocality, named("lb.example")), 1)
		expect := func(what string, want ...string) {
			t.Helper()
			time.Sleep(longestWait(maxRetryNames))
			got, ok := r.Addrs("east", "lb.example")
			require.True(t, ok, what)
			require.Equal(t, addrs(want...), got, what)
		}
		expect("a family that fails holds back no other", "192.0.2.1")
		d.fail("ip6", nil)
		expect("both", "192.0.2.1", "2001:db8::1")
		d.fail("ip6", errors.New("server misbehaving"))
		d.set("lb.example", addrs("192.0.2.2", "2001:db8::2")...)
		expect("what fails stays, what is known moves", "192.0.2.2", "2001:db8::1")
		d.fail("ip4", errors.New("timeout"))
		time.Sleep(48 * time.Hour)
		expect("all stays while all fails", "192.0.2.2", "2001:db8::1")
		d.fail("ip4", errNoAddress)
		time.Sleep(48 * time.Hour)
		expect("half a denial is none", "192.0.2.2", "2001:db8::1")
		d.fail("ip6", nil)
		expect("a family that is gone goes at once", "2001:db8::2")
	})
}

// The DNS says that there is no such name, or no address of either family.
func TestResolverDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := discovery.NewTable()
		r, d := runResolver(t, table)
		d.set("lb.example", addrs("192.0.2.1")...)
		apply(t, table, cluster("east", eastLocality, named("lb.example")), 1)
		time.Sleep(longestWait(0))
		deny := func(err error) {
			d.fail("ip4", err)
			d.fail("ip6", err)
		}
		known := func() bool {
			got, ok := r.Addrs("east", "lb.example")
			require.True(t, ok)
			return len(got) > 0
		}
		require.True(t, known())

		deny(errNoAddress)
		time.Sleep(keepDenied - maxRetryNames)
		require.True(t, known(), "a mistake that is mended soon")
		deny(nil)
		time.Sleep(longestWait(maxRetryNames))
		deny(errNoAddress)
		time.Sleep(keepDenied - maxRetryNames)
		require.True(t, known(), "the time begins anew")

		generation := r.Generation()
		time.Sleep(longestWait(fakeTTL) + 2*maxRetryNames)
		require.False(t, known(), "gone for good")
		require.Greater(t, r.Generation(), generation, "what was built from it is outdated")

		deny(nil)
		d.set("lb.example", addrs("192.0.2.7")...)
		time.Sleep(longestWait(maxRetryNames))
		got, ok := r.Addrs("east", "lb.example")
		require.True(t, ok, "it came back")
		require.Equal(t, addrs("192.0.2.7"), got)
	})
}

// A name that never had an address is awaited for as long.
func TestResolverDeniedFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := discovery.NewTable()
		r, d := runResolver(t, table)
		d.fail("ip4", errNoAddress)
		d.fail("ip6", errNoAddress)
		apply(t, table, cluster("east", eastLocality, named("lb.example")), 1)
		time.Sleep(keepDenied - maxRetryNames)
		_, ok := r.Addrs("east", "lb.example")
		require.False(t, ok)
		time.Sleep(3 * maxRetryNames)
		got, ok := r.Addrs("east", "lb.example")
		require.True(t, ok)
		require.Empty(t, got)
	})
}

// A load balancer that tells a part of its addresses at a time: the last
// part counts, as it does for a client that asks by itself.
func TestResolverRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := discovery.NewTable()
		r, d := runResolver(t, table)
		apply(t, table, cluster("east", eastLocality, named("lb.example")), 1)
		for _, part := range [][]string{{"192.0.2.1", "192.0.2.2"}, {"192.0.2.3", "192.0.2.4"}, {"192.0.2.1"}} {
			d.set("lb.example", addrs(part...)...)
			time.Sleep(longestWait(fakeTTL))
			got, _ := r.Addrs("east", "lb.example")
			require.Equal(t, addrs(part...), got)
		}
	})
}

// Agents whose name server fails them all at the same time don't come back at
// the same time.
func TestResolverRetriesApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		different := map[time.Time]bool{}
		for range 100 {
			n, failed := &resolved{}, found{err: errors.New("timeout")}
			n.schedule(failed, failed, failed.err, 1)
			require.False(t, n.due.Before(time.Now().Add(retryNames)))
			require.True(t, n.due.Before(time.Now().Add(retryNames+retryNames/10)))
			different[n.due] = true
		}
		require.Greater(t, len(different), 1)
	})
}

// A lookup that the end of the link cuts off has failed nobody.
func TestResolverEndsQuietly(t *testing.T) {
	var log strings.Builder
	r := newResolver(discovery.NewTable(), func(ctx context.Context, _, _ string) found {
		<-ctx.Done()
		return found{err: ctx.Err()}
	}, slog.New(slog.NewTextHandler(&log, nil)))
	r.Addrs("east", "lb.example")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.resolve(ctx, "lb.example")
	require.Empty(t, log.String())
}
