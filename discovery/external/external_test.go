package external_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
	"github.com/isthmus-dns/isthmus/discovery/external"
	"github.com/isthmus-dns/isthmus/discovery/probe"
)

// machines are the endpoints, some of which are dead, on a bubble's clock.
type machines struct {
	mu     sync.Mutex
	dead   map[netip.Addr]bool
	checks map[netip.Addr]int
}

func (m *machines) dial(_ context.Context, a netip.AddrPort) (net.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.checks[a.Addr()]++
	if m.dead[a.Addr()] {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	ours, _ := net.Pipe()
	return ours, nil
}

func (m *machines) kill(addrs ...netip.Addr) { m.set(true, addrs) }
func (m *machines) mend(addrs ...netip.Addr) { m.set(false, addrs) }

func (m *machines) set(dead bool, addrs []netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range addrs {
		m.dead[a] = dead
	}
}

// checked is how many addresses were ever checked.
func (m *machines) checked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.checks)
}

// site is a checker and whoever takes what it emits.
type site struct {
	*external.Checker
	*machines
	metrics *prometheus.Registry

	mu        sync.Mutex
	updates   []discovery.Update
	services  map[discovery.Key]*discovery.Service // as emitted
	published map[discovery.Key]*discovery.Service // as by another leader
}

func newSite(t require.TestingT) *site {
	s := &site{
		machines:  &machines{dead: map[netip.Addr]bool{}, checks: map[netip.Addr]int{}},
		metrics:   prometheus.NewRegistry(),
		services:  map[discovery.Key]*discovery.Service{},
		published: map[discovery.Key]*discovery.Service{},
	}
	var err error
	s.Checker, err = external.New(external.Config{
		Cluster: "west", Emit: s.take,
		Published: func(key discovery.Key) *discovery.Service { return s.published[key] },
		Probe:     probe.Config{Dial: s.dial, Random: func() float64 { return 0.5 }, Registerer: s.metrics},
	})
	require.NoError(t, err)
	return s
}

func (s *site) take(u discovery.Update) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.updates = append(s.updates, u)
	for _, service := range u.Services {
		s.services[service.Key()] = service
	}
}

// lead has it check until the returned function is called.
func (s *site) lead(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Lead(ctx)
	}()
	s.Inherit()
	return func() {
		cancel()
		<-done
	}
}

// says is "ready/total" as emitted last, and how many updates there were.
func (s *site) says(name string) (string, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	service := s.services[discovery.MakeKey("vms", name)]
	if service == nil {
		return "", len(s.updates)
	}
	return fmt.Sprintf("%d/%d", service.Ready(), service.Total()), len(s.updates)
}

// emitted are all updates so far, and record is a service's last one.
func (s *site) emitted() []discovery.Update {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.updates)
}

func (s *site) record() *discovery.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.services["db.vms"]
}

func (s *site) requires(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	got, _ := s.says("db")
	require.Equal(t, want, got)
}

// addr is that of a machine.
func addr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{192, 0, byte(2 + i/250), byte(1 + i%250)})
}

// database is a service with so many machines in zone a, all ready by their
// slices.
func database(n int) (*discovery.Service, *discovery.EndpointCheck) { return service("db", 0, n) }

func service(name string, from, n int) (*discovery.Service, *discovery.EndpointCheck) {
	s := &discovery.Service{
		Namespace: "vms", Name: name, Kind: discovery.KindClusterIP,
		Ports:  []discovery.Port{{Protocol: discovery.TCP, Port: 5432}},
		Counts: []discovery.ZoneCount{{Zone: "a", Ready: uint32(n), Total: uint32(n)}},
	}
	check := &discovery.EndpointCheck{Check: discovery.CheckTCP}
	for i := range n {
		check.Endpoints = append(check.Endpoints, discovery.CheckedEndpoint{
			Endpoint: discovery.Endpoint{Addr: addr(from + i), Zone: "a", Ready: true}, Port: 5432,
		})
	}
	return s, check
}

// headless has its endpoints carried in the record.
func headless(s *discovery.Service, check *discovery.EndpointCheck) (*discovery.Service, *discovery.EndpointCheck) {
	s.Kind = discovery.KindHeadless
	for _, e := range check.Endpoints {
		s.Endpoints = append(s.Endpoints, e.Endpoint)
	}
	return s, check
}

func whole(s *discovery.Service, check *discovery.EndpointCheck) discovery.Update {
	u := discovery.Update{Whole: true}
	u.Add(s, check)
	return u
}

// bound is by when a death must have been noticed.
func bound() time.Duration {
	h := probe.DefaultHealth()
	return h.Interval*time.Duration(h.Unhealthy) + time.Second
}

func TestDeathAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.Update(whole(headless(database(3))))
		defer s.lead(t)()
		time.Sleep(time.Minute)
		s.requires(t, "3/3")
		_, before := s.says("db")
		require.Equal(t, 1, before, "that endpoints are up is no news")

		s.kill(addr(1))
		time.Sleep(bound())
		s.requires(t, "2/3")
		got := s.record()
		require.Equal(t, []bool{true, false, true}, []bool{got.Endpoints[0].Ready, got.Endpoints[1].Ready, got.Endpoints[2].Ready})
		require.Equal(t, []discovery.ZoneCount{{Zone: "a", Ready: 2, Total: 3}}, got.Counts)

		s.kill(addr(0), addr(2))
		time.Sleep(bound())
		s.requires(t, "0/3")

		s.mend(addr(0), addr(1), addr(2))
		time.Sleep(probe.DefaultDamping + 2*probe.DefaultHealth().Interval)
		s.requires(t, "3/3")
		_, after := s.says("db")
		time.Sleep(time.Hour)
		_, later := s.says("db")
		require.Equal(t, after, later, "nothing is emitted while nothing changes")
	})
}

// TestSlicesDecideFirst: a check takes endpoints out, and puts none in that its
// slice says is not ready.
func TestSlicesDecideFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		record, check := database(3)
		check.Endpoints[0].Ready = false
		check.Endpoints[1].Port = 0 // may not be checked
		s.kill(addr(1))
		s.Update(whole(record, check))
		defer s.lead(t)()
		s.requires(t, "2/3")
		time.Sleep(time.Minute)
		s.requires(t, "2/3")
		require.Equal(t, 2, s.checked())
	})
}

// TestUnknownIsNotDown: without a verdict the slices hold: before the first
// one, of a new endpoint, and where nobody leads.
func TestUnknownIsNotDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.kill(addr(0), addr(2))
		s.Update(whole(database(2)))
		time.Sleep(time.Minute)
		s.requires(t, "2/2")
		require.Zero(t, s.checked(), "a standby checks nothing")

		defer s.lead(t)()
		s.requires(t, "2/2")
		time.Sleep(bound())
		s.requires(t, "1/2")

		s.Update(whole(database(3)))
		s.requires(t, "2/3")
		time.Sleep(bound())
		s.requires(t, "1/3")
	})
}

// TestUpdatesPass: what isn't about checks goes through, at once and as it is.
func TestUpdatesPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.lead(t)()
		db, check := database(2)
		web, _ := service("web", 10, 4)
		cluster := &discovery.Cluster{Name: "west"}
		first := discovery.Update{Whole: true, Cluster: cluster}
		first.Add(db, check)
		first.Add(web, nil)
		s.kill(addr(0), addr(10))
		s.Update(first)
		got := s.emitted()
		require.Len(t, got, 1)
		require.True(t, got[0].Whole)
		require.Same(t, cluster, got[0].Cluster)
		require.Same(t, web, got[0].Services[1])
		require.NotSame(t, db, got[0].Services[0])
		require.Equal(t, db, got[0].Services[0])
		require.Empty(t, got[0].Checks)
		time.Sleep(bound())
		s.requires(t, "1/2")

		again, check := database(2) // its weight changes, and its dead stay dead
		again.Weight = 7
		change := discovery.Update{}
		change.Add(again, check)
		s.Update(change)
		s.requires(t, "1/2")
		require.EqualValues(t, 7, s.record().Weight)

		free, _ := database(2) // without the annotation
		s.Update(discovery.Update{Services: []*discovery.Service{free}})
		s.requires(t, "2/2")
		s.kill(addr(1))
		time.Sleep(time.Minute)
		s.requires(t, "2/2")
		s.mend(addr(1))

		s.Update(whole(database(2)))
		time.Sleep(bound())
		s.requires(t, "1/2")
		s.Update(discovery.Update{Removed: []discovery.Key{"db.vms"}})
		time.Sleep(time.Second)
		_, before := s.says("db")
		s.mend(addr(0))
		time.Sleep(5 * time.Minute)
		_, after := s.says("db")
		require.Equal(t, before, after, "a service that is gone comes back by no check")
	})
}

// TestTakeOver: what the leader before has published stays until there are
// verdicts of our own, without a word about it in between.
func TestTakeOver(t *testing.T) {
	tests := []struct {
		name   string
		make   func(n int) (*discovery.Service, *discovery.EndpointCheck)
		before int // ready, as published; the last ones are out
		dead   []int
		now    int // machines that there are by now
		begins string
		ends   string
	}{
		{name: "counts", make: database, before: 2, dead: []int{2}, now: 3, begins: "2/3", ends: "2/3"},
		{name: "endpoints", make: func(n int) (*discovery.Service, *discovery.EndpointCheck) { return headless(database(n)) }, before: 2, dead: []int{2}, now: 3, begins: "2/3", ends: "2/3"},
		{name: "another one died meanwhile", make: database, before: 2, dead: []int{0}, now: 3, begins: "2/3", ends: "2/3"},
		{name: "all are back", make: database, before: 0, now: 3, begins: "0/3", ends: "3/3"},
		{name: "all are dead", make: database, before: 3, dead: []int{0, 1, 2}, now: 3, begins: "3/3", ends: "0/3"},
		{name: "one that came counts", make: database, before: 2, dead: []int{2}, now: 4, begins: "3/4", ends: "3/4"},
		{name: "one that went does not", make: database, before: 2, now: 2, begins: "2/2", ends: "2/2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				published, _ := test.make(3)
				published.Counts[0].Ready = uint32(test.before)
				for i := test.before; i < len(published.Endpoints); i++ {
					published.Endpoints[i].Ready = false
				}
				s.published["db.vms"] = published
				for _, i := range test.dead {
					s.kill(addr(i))
				}
				s.Update(whole(test.make(test.now)))
				defer s.lead(t)()
				s.requires(t, test.begins)
				seen := map[string]bool{}
				for range 600 {
					time.Sleep(100 * time.Millisecond)
					synctest.Wait()
					now, _ := s.says("db")
					seen[now] = true
				}
				s.requires(t, test.ends)
				if test.begins == test.ends {
					require.Equal(t, map[string]bool{test.ends: true}, seen)
				}
			})
		})
	}
}

// TestTakeOverByZone: what was published of one zone says nothing of another, and
// of a machine with two addresses only one counts.
func TestTakeOverByZone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		make := func() (*discovery.Service, *discovery.EndpointCheck) {
			record, check := database(4)
			check.Endpoints[2].Zone, check.Endpoints[3].Zone = "b", "b"
			for i, e := range check.Endpoints { // and each has an IPv6 address
				e.Addr = netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i))
				check.Endpoints = append(check.Endpoints, e)
			}
			record.Counts = []discovery.ZoneCount{{Zone: "a", Ready: 2, Total: 2}, {Zone: "b", Ready: 2, Total: 2}}
			return record, check
		}
		s.published["db.vms"], _ = make()
		s.published["db.vms"].Counts[1].Ready = 1
		s.kill(addr(2), netip.MustParseAddr("2001:db8::2"))
		s.Update(whole(make()))
		defer s.lead(t)()
		want := []discovery.ZoneCount{{Zone: "a", Ready: 2, Total: 2}, {Zone: "b", Ready: 1, Total: 2}}
		for range 60 {
			synctest.Wait()
			require.Equal(t, want, s.record().Counts)
			time.Sleep(time.Second)
		}
		s.mend(netip.MustParseAddr("2001:db8::2"))
		time.Sleep(probe.DefaultDamping + 2*probe.DefaultHealth().Interval)
		s.requires(t, "4/4")
	})
}

// TestInheritanceHolds: whatever was published and whatever there is now, the
// record is valid, its totals are the slices', and the next leader, who knows as
// little, says the same.
func TestInheritanceHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSite(t)
		carries := rapid.Bool().Draw(t, "headless")
		published, _ := anyService(t, carries)
		for i := range published.Counts {
			published.Counts[i].Ready = rapid.Uint32Range(0, published.Counts[i].Total).Draw(t, "ready")
		}
		s.published[published.Key()] = published
		record, check := anyService(t, carries)
		totals := record.Total()
		s.Update(whole(record, check))
		s.Inherit()
		got := s.record()
		require.NoError(t, got.Validate())
		require.Equal(t, totals, got.Total())
		require.LessOrEqual(t, got.Ready(), record.Ready(), "the slices decide first")

		before := s.emitted()
		s.published["db.vms"] = got
		s.Inherit()
		require.Equal(t, before, s.emitted())
	})
}

// anyService is one of up to eight machines.
func anyService(t *rapid.T, carries bool) (*discovery.Service, *discovery.EndpointCheck) {
	record, check := database(rapid.IntRange(0, 8).Draw(t, "machines"))
	for i := range check.Endpoints {
		e := &check.Endpoints[i]
		e.Zone = rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "zone")
		e.Ready = rapid.Bool().Draw(t, "ready")
		e.Port = rapid.SampledFrom([]uint16{0, 5432}).Draw(t, "port")
	}
	var endpoints []discovery.Endpoint
	for _, e := range check.Endpoints {
		endpoints = append(endpoints, e.Endpoint)
	}
	if carries {
		record.Kind, record.Endpoints = discovery.KindHeadless, endpoints
	}
	export.Recount(record, endpoints)
	return record, check
}

// TestTermsAreApart: what was found in an earlier term is not taken for new, and
// what was said last is said until the next one begins.
func TestTermsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.kill(addr(0))
		s.Update(whole(database(2)))
		stop := s.lead(t)
		time.Sleep(bound())
		s.requires(t, "1/2")
		stop()
		s.Update(whole(database(2)))
		s.requires(t, "1/2")

		// Another one leads for a day, and sees it return.
		time.Sleep(24 * time.Hour)
		s.published["db.vms"], _ = database(2)
		s.mend(addr(0))
		defer s.lead(t)()
		s.requires(t, "2/2")
		time.Sleep(time.Minute)
		s.requires(t, "2/2")
	})
}

// TestInheritanceEnds: of what can't be checked, nothing is known after a while.
func TestInheritanceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.published["db.vms"], _ = database(1)
		s.published["db.vms"].Counts[0].Ready = 0
		s.Checker, _ = external.New(external.Config{
			Cluster: "west", Emit: s.take,
			Published: func(key discovery.Key) *discovery.Service { return s.published[key] },
			Probe: probe.Config{Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
				return nil, os.NewSyscallError("socket", syscall.EMFILE)
			}},
		})
		s.Update(whole(database(1)))
		defer s.lead(t)()
		s.requires(t, "0/1")
		time.Sleep(bound())
		s.requires(t, "0/1")
		time.Sleep(bound())
		s.requires(t, "1/1")
	})
}

// TestBounds: beyond the bound, services get equal parts, and what is left out
// is ready by its slice.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		u := discovery.Update{Whole: true}
		u.Add(service("db", 0, 3))
		u.Add(service("large", 3, external.MaxTargets+5))
		for i := range external.MaxTargets + 8 {
			s.kill(addr(i))
		}
		s.Update(u)
		defer s.lead(t)()
		time.Sleep(2 * bound())
		s.requires(t, "0/3")
		require.Equal(t, external.MaxTargets, s.checked())
		got, _ := s.says("large")
		require.Equal(t, fmt.Sprintf("8/%d", external.MaxTargets+5), got)
		require.Equal(t, map[string]float64{"up": 0, "down": external.MaxTargets, "unknown": 0, "unchecked": 8}, s.states(t))
	})
}

// states are what the metrics say of endpoints.
func (s *site) states(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := s.metrics.Gather()
	require.NoError(t, err)
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "isthmus_external_endpoints" {
			continue
		}
		for _, m := range f.GetMetric() {
			out[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
		}
	}
	return out
}

// TestHealth: interval and thresholds are the configuration's, also a new one.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.Update(whole(database(2)))
		defer s.lead(t)()
		time.Sleep(time.Minute)
		require.NoError(t, s.SetHealth(probe.Health{Interval: time.Second, Timeout: 500 * time.Millisecond, Unhealthy: 2}))
		require.Error(t, s.SetHealth(probe.Health{Interval: time.Nanosecond}))
		time.Sleep(10 * time.Second)
		s.kill(addr(0))
		time.Sleep(3 * time.Second)
		s.requires(t, "1/2")
	})
}

func TestNewWantsAll(t *testing.T) {
	_, err := external.New(external.Config{})
	require.Error(t, err)
}
