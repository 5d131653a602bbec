package probe_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/probe"
)

var healths = []probe.Health{
	probe.DefaultHealth(),
	{Interval: 5 * time.Second, Timeout: 2 * time.Second, Unhealthy: 1, Healthy: 1},
	{Interval: 5 * time.Second, Timeout: 4 * time.Second, Unhealthy: 3, Healthy: 2},
	{Interval: time.Second, Timeout: time.Second, Unhealthy: 2, Healthy: 2},
	{Interval: 200 * time.Millisecond, Timeout: 100 * time.Millisecond, Unhealthy: 5, Healthy: 1},
	{Interval: 30 * time.Second, Timeout: 10 * time.Second, Unhealthy: 2, Healthy: 4},
}

// A gateway that dies, at whatever moment and in whatever way, is down within
// interval × threshold + 1 s, and not before the threshold; it is up again
// after `healthy` good checks.
func TestDeathAndReturn(t *testing.T) {
	for i, h := range healths {
		for _, how := range []mode{refuse, drop} {
			t.Run(fmt.Sprint(i, how), func(t *testing.T) {
				for seed := range uint64(10) {
					bubble(t, func(t *testing.T) { dieAndReturn(t, h, how, seed) })
				}
			})
		}
	}
}

func dieAndReturn(t *testing.T, h probe.Health, how mode, seed uint64) {
	n := newNetwork()
	random := rand.New(rand.NewPCG(seed, 1))
	p := start(t, n, probe.Config{Policy: probe.Policy{Health: h}, Random: seeded(seed)})
	gateway := target("east", at(1))
	p.SetTargets([]probe.Target{gateway})
	await(t, p, gateway, probe.Up, time.Second)
	time.Sleep(time.Minute + time.Duration(random.Float64()*float64(h.Interval)))

	n.set(at(1), how)
	died := time.Now()
	before := len(n.began(at(1)))
	down := await(t, p, gateway, probe.Down, h.Interval*time.Duration(h.Unhealthy)+time.Second)
	require.GreaterOrEqual(t, len(n.began(at(1)))-before, h.Unhealthy)
	state := p.Snapshot().State(gateway)
	require.NotEmpty(t, state.Error)
	require.WithinRange(t, state.Since, died, down)

	time.Sleep(time.Minute + time.Duration(random.Float64()*float64(h.Interval)))
	n.set(at(1), accept)
	before = len(n.began(at(1)))
	await(t, p, gateway, probe.Up, h.Interval*time.Duration(h.Healthy)+time.Second)
	require.GreaterOrEqual(t, len(n.began(at(1)))-before, h.Healthy)
	require.Empty(t, p.Snapshot().State(gateway).Error)
}

// A death right after the first good check is no flapping.
func TestEarlyDeath(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		p := start(t, n, probe.Config{})
		gateway := target("east", at(1))
		p.SetTargets([]probe.Target{gateway})
		await(t, p, gateway, probe.Up, time.Second)
		n.set(at(1), drop)
		await(t, p, gateway, probe.Down, 16*time.Second)
	})
}

// Losses below the threshold change nothing that anybody is told but the
// error.
func TestLostProbe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		p := start(t, n, probe.Config{})
		gateway := target("east", at(1))
		p.SetTargets([]probe.Target{gateway})
		await(t, p, gateway, probe.Up, time.Second)
		for i := range 20 {
			lost := len(n.began(at(1))) + 1 + i%2
			n.set(at(1), drop)
			for len(n.began(at(1))) < lost {
				time.Sleep(10 * time.Millisecond)
			}
			n.set(at(1), accept)
			time.Sleep(20 * time.Second)
			require.Equal(t, probe.Up, p.Snapshot().State(gateway).Status)
		}
		require.Less(t, p.Snapshot().State(gateway).Since, time.Now().Add(-5*time.Minute), "it was never anything else")
	})
}

// Whatever the rhythm in which a gateway comes and goes, its status changes at
// most every 30 s.
func TestFlapping(t *testing.T) {
	for _, rhythm := range []time.Duration{5, 8, 12, 13, 15, 17, 20, 25, 29, 31, 40, 60} {
		t.Run(fmt.Sprint(rhythm), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := newNetwork()
				p := start(t, n, probe.Config{})
				gateway := target("east", at(1))
				p.SetTargets([]probe.Target{gateway})
				await(t, p, gateway, probe.Up, time.Second)
				time.Sleep(time.Minute)
				begin, changes := time.Now(), []time.Time{}
				go func() {
					for i := 0; time.Since(begin) < 20*time.Minute; i++ {
						n.set(at(1), []mode{refuse, accept}[i%2])
						time.Sleep(rhythm * time.Second)
					}
				}()
				for was := probe.Up; time.Since(begin) < 20*time.Minute; time.Sleep(100 * time.Millisecond) {
					if is := p.Snapshot().State(gateway).Status; is != was {
						changes, was = append(changes, time.Now()), is
					}
				}
				for i := 1; i < len(changes); i++ {
					// The publication of the earlier one may have been delayed.
					require.GreaterOrEqual(t, changes[i].Sub(changes[i-1]), 30*time.Second-300*time.Millisecond)
				}
				require.LessOrEqual(t, len(changes), 41)
				if rhythm > 5 {
					require.NotEmpty(t, changes)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// 500 clusters with four gateways each at 5 s: checks are spread evenly from
// the start, also while everything fails, and nobody waits longer than the
// interval.
func TestSpread(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		p := start(t, n, probe.Config{})
		targets := crowd(500, 4)
		began := time.Now()
		p.SetTargets(targets)
		time.Sleep(60 * time.Second)
		checkSpread(t, n.times(), began, 60*time.Second, 40, 3) // while new, and after
		checkSpread(t, n.times(), began.Add(15*time.Second), 45*time.Second, 40, 2)
		for _, target := range targets {
			requireGaps(t, n.began(netip.AddrPortFrom(target.Addr, target.Port)), 4500*time.Millisecond, 5100*time.Millisecond)
		}

		for i := range targets {
			n.set(at(i), drop)
		}
		failing := time.Now()
		time.Sleep(17 * time.Second)
		for _, target := range targets {
			require.Equal(t, probe.Down, p.Snapshot().State(target).Status)
		}
		checkSpread(t, n.times(), failing, 17*time.Second, 80, 2) // in doubt: twice as often
		n.mu.Lock()
		defer n.mu.Unlock()
		require.LessOrEqual(t, n.most, 2048)
	})
}

// checkSpread asserts that in any 100 ms of a span no more than factor times
// the mean start.
func checkSpread(t *testing.T, times []time.Time, from time.Time, span time.Duration, mean, factor int) {
	t.Helper()
	const window = 100 * time.Millisecond
	slices.SortFunc(times, time.Time.Compare)
	counts := map[int]int{}
	total := 0
	for _, at := range times {
		if d := at.Sub(from); d >= 0 && d < span {
			counts[int(d/window)]++
			total++
		}
	}
	for i := range int(span / window) {
		require.LessOrEqual(t, counts[i], factor*mean, "in the %dth 100 ms", i)
	}
	require.LessOrEqual(t, float64(total), 1.2*float64(mean)*float64(span/window))
}

func requireGaps(t *testing.T, times []time.Time, least, most time.Duration) {
	t.Helper()
	require.Greater(t, len(times), 2)
	for i := 1; i < len(times); i++ {
		gap := times[i].Sub(times[i-1])
		require.True(t, gap >= least && gap <= most, "%s between two checks", gap)
	}
}

// The first states come soon when there are few targets.
func TestFirstChecks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		p := start(t, n, probe.Config{})
		n.set(at(3), refuse)
		targets := crowd(3, 2)
		p.SetTargets(targets)
		time.Sleep(300 * time.Millisecond)
		for i, target := range targets {
			want := probe.Up
			if i == 3 {
				want = probe.Unknown // one failure is none
			}
			require.Equal(t, want, p.Snapshot().State(target).Status)
		}
	})
}

// A new target does not wait behind those that were there before.
func TestNewTarget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		p := start(t, n, probe.Config{})
		targets := crowd(250, 4)
		p.SetTargets(targets)
		time.Sleep(time.Minute)
		fresh := target("fresh", at(5000))
		p.SetTargets(append(targets, fresh))
		await(t, p, fresh, probe.Up, 200*time.Millisecond)
	})
}

// Nothing is published while nothing changes, and noise is nothing.
func TestQuiet(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		random := seeded(7)
		n.delay = func(netip.AddrPort) time.Duration {
			return time.Duration((0.9 + 0.2*random()) * float64(40*time.Millisecond)) // ± 10 %
		}
		p := start(t, n, probe.Config{})
		targets := crowd(10, 2)
		p.SetTargets(targets)
		time.Sleep(time.Minute)
		s := p.Snapshot()
		time.Sleep(time.Hour)
		require.LessOrEqual(t, p.Snapshot().Generation-s.Generation, uint64(len(targets)), "20 targets were told more precisely once")
		for _, target := range targets {
			require.InEpsilon(t, 40*time.Millisecond, p.Snapshot().State(target).RTT.Smoothed, 0.1)
		}

		n.mu.Lock()
		n.delay = nil
		n.mu.Unlock()
		time.Sleep(10 * time.Minute)
		s = p.Snapshot()
		time.Sleep(time.Hour)
		require.Same(t, s, p.Snapshot())
		select {
		case <-s.Outdated():
			require.Fail(t, "outdated, but the current one")
		default:
		}
	})
}

// A round-trip time that keeps changing is told every 10 s, however often
// something else is.
func TestQuietRTT(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		delay := time.Millisecond
		n.delay = func(netip.AddrPort) time.Duration {
			delay = delay * 103 / 100
			return delay
		}
		p := start(t, n, probe.Config{Policy: probe.Policy{
			Health:  probe.Health{Interval: 500 * time.Millisecond, Timeout: 400 * time.Millisecond, Unhealthy: 1, Healthy: 1},
			Damping: time.Millisecond,
		}})
		steady, restless := target("east", at(1)), target("east", at(2))
		p.SetTargets([]probe.Target{steady, restless})
		var told []time.Time
		var generations uint64
		last := probe.RTT{}
		for began := time.Now(); time.Since(began) < 80*time.Second; time.Sleep(50 * time.Millisecond) {
			n.set(at(2), []mode{accept, refuse}[int(time.Since(began)/time.Second)%2])
			s := p.Snapshot()
			if rtt := s.State(steady).RTT; rtt != last {
				told, last = append(told, time.Now()), rtt
			}
			generations = s.Generation
		}
		require.Greater(t, generations, uint64(50))
		requireGaps(t, told, 9*time.Second, time.Minute)
	})
}

// What did not change is shared between snapshots.
func TestSnapshotShares(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		p := start(t, n, probe.Config{})
		p.SetTargets(crowd(2, 2))
		time.Sleep(time.Minute)
		before := p.Snapshot()
		n.set(at(0), refuse)
		<-before.Outdated() // its error first, then its status
		after := p.Snapshot()
		require.Greater(t, after.Generation, before.Generation)
		require.Same(t, &before.Cluster("c1")[0], &after.Cluster("c1")[0])
		require.NotSame(t, &before.Cluster("c0")[0], &after.Cluster("c0")[0])
		require.Empty(t, before.Cluster("c0")[0].Error)
		require.Equal(t, "connect: connection refused", after.Cluster("c0")[0].Error)
	})
}

// Re-listing keeps a target's state and rhythm; leaving the list forgets it.
func TestSetTargets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		n.set(at(1), refuse)
		p := start(t, n, probe.Config{})
		dead, other := target("east", at(1)), target("east", at(2))
		p.SetTargets([]probe.Target{dead})
		await(t, p, dead, probe.Down, 16*time.Second)
		since := p.Snapshot().State(dead).Since
		for i := range 50 {
			list := []probe.Target{dead, other}
			if i%2 == 1 {
				list = []probe.Target{other, dead, dead} // order and repetition are nothing
			}
			p.SetTargets(list)
			time.Sleep(time.Second)
		}
		require.Equal(t, probe.State{Status: probe.Down, Since: since, Error: "connect: connection refused"}, p.Snapshot().State(dead))
		requireGaps(t, n.began(at(2)), 4500*time.Millisecond, 5100*time.Millisecond)

		p.SetTargets([]probe.Target{other})
		time.Sleep(time.Second)
		require.Zero(t, p.Snapshot().State(dead))
		require.Len(t, p.Snapshot().Cluster("east"), 1)
		before := len(n.began(at(1)))
		time.Sleep(time.Minute)
		require.Len(t, n.began(at(1)), before)
		p.SetTargets([]probe.Target{dead, other})
		time.Sleep(time.Second)
		require.Equal(t, probe.Unknown, p.Snapshot().State(dead).Status)

		p.SetTargets(nil)
		time.Sleep(time.Second)
		require.Empty(t, p.Snapshot().Cluster("east"))
		for range p.Snapshot().All() {
			require.Fail(t, "a cluster is left")
		}
	})
}

// A target that goes while a check of it runs is not checked again.
func TestGoneInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		n.set(at(1), drop)
		p := start(t, n, probe.Config{})
		p.SetTargets([]probe.Target{target("east", at(1)), target("east", at(2))})
		for len(n.began(at(1))) == 0 {
			time.Sleep(time.Millisecond)
		}
		p.SetTargets([]probe.Target{target("east", at(2))})
		time.Sleep(time.Minute)
		require.Len(t, n.began(at(1)), 1)
	})
}

// to changes a policy as a whole.
func to(policy probe.Policy) func(*probe.Policy) {
	return func(p *probe.Policy) { *p = policy }
}

func TestChangePolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		p := start(t, n, probe.Config{Policy: probe.Policy{Health: probe.Health{Interval: time.Minute, Timeout: time.Second}}})
		gateway := target("east", at(1))
		p.SetTargets([]probe.Target{gateway})
		await(t, p, gateway, probe.Up, time.Second)
		require.Error(t, p.ChangePolicy(to(probe.Policy{Health: probe.Health{Interval: time.Nanosecond}})))
		require.NoError(t, p.ChangePolicy(to(probe.Policy{})))
		time.Sleep(5 * time.Second)
		before := len(n.began(at(1)))
		for range 60 { // the same again
			require.NoError(t, p.ChangePolicy(to(probe.Policy{})))
			time.Sleep(time.Second)
		}
		requireGaps(t, n.began(at(1))[before:], 4500*time.Millisecond, 5100*time.Millisecond)
		n.set(at(1), refuse)
		await(t, p, gateway, probe.Down, 16*time.Second)
		require.NoError(t, p.ChangePolicy(to(probe.Policy{Fit: func(netip.Addr) bool { return false }})))
		time.Sleep(time.Second)
		require.Zero(t, p.Snapshot().State(gateway))
	})
}

// A target's own health wins, and is no part of what it is.
func TestTargetHealth(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		p := start(t, n, probe.Config{Purpose: "external"})
		vm := target("vms", at(1))
		vm.Key = "shop/vm-1"
		vm.Health = probe.Health{Interval: time.Second, Timeout: 500 * time.Millisecond, Unhealthy: 1}
		p.SetTargets([]probe.Target{vm})
		await(t, p, vm, probe.Up, time.Second)
		n.set(at(1), drop)
		await(t, p, vm, probe.Down, 2*time.Second)
		since := p.Snapshot().State(vm).Since
		vm.Health.Interval = 3 * time.Second
		p.SetTargets([]probe.Target{vm})
		time.Sleep(time.Minute)
		require.Equal(t, since, p.Snapshot().State(vm).Since)
		times := n.began(at(1))
		requireGaps(t, times[len(times)-5:], 2700*time.Millisecond, 3100*time.Millisecond)
		require.Equal(t, "shop/vm-1", p.Snapshot().Cluster("vms")[0].Target.Key)
	})
}

// A cluster that names half the Internet, or always something else, gets its
// limit and keeps nobody else from being checked in time.
func TestHostileCluster(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		honest := crowd(20, 2)
		p := start(t, n, probe.Config{})
		for round := range 60 {
			list := slices.Clone(honest)
			for i := range 1000 {
				a := at(1000 + round*1000 + i)
				n.set(a, drop)
				list = append(list, target("evil", a))
			}
			p.SetTargets(list)
			time.Sleep(time.Second)
		}
		for i := range honest {
			requireGaps(t, n.began(at(i)), 4500*time.Millisecond, 5100*time.Millisecond)
		}
		// 256 of them at 5 s, and as much again for new ones.
		require.Less(t, len(n.times()), 60*(2*256/5+40/5+5))
		require.LessOrEqual(t, len(p.Snapshot().Cluster("evil")), 256)
		n.mu.Lock()
		defer n.mu.Unlock()
		require.Less(t, n.most, 256)
	})
}

// Beyond the total, every cluster gets an equal part.
func TestTotalLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		p := start(t, n, probe.Config{Policy: probe.Policy{Limits: probe.Limits{Total: 100, PerCluster: 80}}})
		var targets []probe.Target
		for i, size := range []int{5, 30, 200, 200} {
			for g := range size {
				targets = append(targets, target(fmt.Sprint("c", i), at(i*1000+g)))
			}
		}
		sizes := func() (sizes []int) {
			time.Sleep(20 * time.Second)
			for i := range 4 {
				sizes = append(sizes, len(p.Snapshot().Cluster(fmt.Sprint("c", i))))
			}
			return sizes
		}
		p.SetTargets(targets)
		require.Equal(t, []int{5, 30, 32, 32}, sizes())
		require.Equal(t, probe.Up, p.Snapshot().State(targets[35]).Status, "the first ones stay")
		p.SetTargets(targets[:35+200])
		require.Equal(t, []int{5, 30, 65, 0}, sizes())
		p.SetTargets(targets[5:35])
		require.Equal(t, []int{0, 30, 0, 0}, sizes())
		require.NoError(t, p.ChangePolicy(to(probe.Policy{Limits: probe.Limits{Total: 2}})))
		p.SetTargets(targets)
		require.Equal(t, []int{1, 1, 1, 1}, sizes(), "no cluster goes without")
	})
}

// Only so many checks run at a time.
func TestInFlightLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		for i := range 200 {
			n.set(at(i), drop)
		}
		p := start(t, n, probe.Config{Policy: probe.Policy{Limits: probe.Limits{InFlight: 10}}})
		p.SetTargets(crowd(100, 2))
		time.Sleep(time.Minute)
		n.mu.Lock()
		defer n.mu.Unlock()
		require.Equal(t, 10, n.most)
	})
}

func TestUnfitTargets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		p := start(t, n, probe.Config{})
		var targets []probe.Target
		for _, a := range []string{
			"127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1", "fd00:ec2::254",
			"100.100.100.200", "224.0.0.1", "0.0.0.0", "::", "ff02::1",
		} {
			targets = append(targets, probe.Target{Cluster: "evil", Addr: netip.MustParseAddr(a), Port: 80})
		}
		targets = append(
			targets,
			probe.Target{Cluster: "evil", Addr: at(1).Addr()},                                                              // no port
			probe.Target{Cluster: "evil", Addr: at(1).Addr(), Port: 80, Check: discovery.CheckNone},                        // not wanted
			probe.Target{Cluster: "evil", Addr: at(1).Addr(), Port: 80, Check: 9},                                          // unknown
			probe.Target{Cluster: "evil", Host: "a\r\nb", Port: 80},                                                        // injection
			probe.Target{Cluster: "evil", Addr: at(1).Addr(), Port: 80, Path: "/ HTTP/1.1\r\nHost: other"},                 // injection
			probe.Target{Cluster: "evil", Addr: at(1).Addr(), Port: 80, Health: probe.Health{Timeout: 1e9 * math.MaxInt8}}, // too long
			probe.Target{Cluster: "\xff", Addr: at(1).Addr(), Port: 80},                                                    // no label
			target("evil", at(2)),
		)
		p.SetTargets(targets)
		time.Sleep(30 * time.Second)
		require.Len(t, p.Snapshot().Cluster("evil"), 1)
		require.Empty(t, p.Snapshot().Cluster("\xff"))
		require.Equal(t, len(n.began(at(2))), len(n.times()), "nothing else was tried")
	})
}

// What fails for reasons of our own is no fault of the target.
func TestOurOwnFault(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		p := start(t, n, probe.Config{})
		up := target("east", at(1))
		p.SetTargets([]probe.Target{up})
		await(t, p, up, probe.Up, time.Second)
		n.set(at(1), exhaust)
		time.Sleep(time.Minute)
		require.Equal(t, probe.Up, p.Snapshot().State(up).Status)
		require.Contains(t, p.Snapshot().State(up).Error, "too many open files")
		for _, m := range []mode{stall, forsake, awake} {
			n.set(at(1), m)
			time.Sleep(10 * time.Minute)
			require.Equal(t, probe.Up, p.Snapshot().State(up).Status)
			require.Less(t, p.Snapshot().State(up).RTT.Smoothed, 10*time.Millisecond, "a standstill is no distance")
		}

		n.set(at(1), noRoute)
		time.Sleep(time.Minute) // for the last that stalls
		await(t, p, up, probe.Down, 16*time.Second)
	})
}

// One Run at a time works; the states outlive it.
func TestStandby(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		n.set(at(1), refuse)
		n.set(at(2), drop)
		p, stop := startUntil(t, n, probe.Config{})
		dead, hanging := target("east", at(1)), target("east", at(2))
		p.SetTargets([]probe.Target{dead, hanging})
		await(t, p, dead, probe.Down, 16*time.Second)
		require.ErrorContains(t, p.Run(t.Context()), "is running")
		time.Sleep(300 * time.Millisecond)
		stop()
		n.mu.Lock()
		require.Zero(t, n.open, "no connection is left when Run has returned")
		n.mu.Unlock()

		before := len(n.times())
		time.Sleep(time.Hour)
		require.Len(t, n.times(), before, "a standby checks nothing")
		require.Equal(t, probe.Down, p.Snapshot().State(dead).Status)

		fresh := target("east", at(3))
		p.SetTargets([]probe.Target{dead, fresh}) // while standing by
		n.set(at(1), accept)
		defer run(t, p)()
		await(t, p, fresh, probe.Up, time.Second)
		await(t, p, dead, probe.Up, 11*time.Second)
	})
}

// What was counted before a pause is no part of what follows it.
func TestPause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		p, stop := startUntil(t, n, probe.Config{})
		gateway := target("east", at(1))
		p.SetTargets([]probe.Target{gateway})
		await(t, p, gateway, probe.Up, time.Second)
		n.set(at(1), refuse)
		for before := len(n.began(at(1))); len(n.began(at(1))) < before+2; {
			time.Sleep(time.Millisecond)
		}
		stop()
		time.Sleep(time.Hour)
		defer run(t, p)()
		time.Sleep(time.Second)
		n.set(at(1), accept)
		time.Sleep(time.Minute)
		require.Less(t, p.Snapshot().State(gateway).Since, time.Now().Add(-time.Hour), "one failure in a row is not three")
	})
}

// A prober that takes over knows what the one before knew.
func TestAdopt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		n.set(at(0), refuse)
		p, stop := startUntil(t, n, probe.Config{})
		targets := crowd(2, 2)
		p.SetTargets(targets)
		await(t, p, targets[0], probe.Down, 16*time.Second)
		stop()
		second, err := probe.New(probe.Config{Dial: n.dial})
		require.NoError(t, err)
		second.SetTargets(targets)
		adopt := func() {
			for _, results := range p.Snapshot().All() {
				second.Adopt(results)
			}
		}
		same := func() {
			for _, target := range targets {
				require.Equal(t, p.Snapshot().State(target), second.Snapshot().State(target))
			}
		}
		adopt()
		same()
		n.set(at(0), accept)
		stop = run(t, p)
		await(t, p, targets[0], probe.Up, time.Minute)
		adopt()
		same()
		n.set(at(0), refuse)
		await(t, p, targets[0], probe.Down, time.Minute)
		adopt()
		same()
		stop()
		second.Adopt([]probe.Result{{Target: target("nobody", at(9)), State: probe.State{Status: probe.Down}}})

		defer run(t, second)()
		time.Sleep(time.Millisecond)
		second.Adopt([]probe.Result{{Target: targets[0], State: probe.State{Status: probe.Up}}})
		time.Sleep(time.Millisecond)
		require.Equal(t, probe.Down, second.Snapshot().State(targets[0]).Status, "what it has found itself counts")
		time.Sleep(time.Minute)
		require.Equal(t, probe.Down, second.Snapshot().State(targets[0]).Status)
		require.Equal(t, probe.Up, second.Snapshot().State(targets[1]).Status)
		require.Empty(t, second.Snapshot().Cluster("nobody"))
	})
}

// All targets of a large group have their first check within two intervals: one
// until their turn comes, and what spreads them.
func TestFirstChecksOfLargeGroup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNetwork()
		const count = 4096
		p := start(t, n, probe.Config{Policy: probe.Policy{Limits: probe.Limits{PerCluster: count}}})
		targets := crowd(1, count)
		p.SetTargets(targets)
		time.Sleep(2 * probe.DefaultHealth().Interval)
		for _, target := range targets {
			require.NotEmpty(t, n.began(netip.AddrPortFrom(target.Addr, target.Port)))
		}
	})
}
