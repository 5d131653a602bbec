package gossip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

const seed = "10.0.0.1:7946"

// settle lets a few members find one another. It ends between two ticks of
// memberlist's gossip, which fall on multiples of 200 ms.
const settle = 5050 * time.Millisecond

// clusters starts n members, each in its own cluster, that join the first.
func clusters(t *testing.T, net *network, n int) []*node {
	t.Helper()
	var nodes []*node
	for i := range n {
		nodes = append(nodes, net.start(t, Config{
			Name:      fmt.Sprintf("w0.c%d", i+1),
			Advertise: fmt.Sprintf("10.0.0.%d:7946", i+1),
			Join:      []string{seed},
		}))
	}
	return nodes
}

func stopAll(nodes []*node) {
	for _, n := range nodes {
		n.stop()
	}
}

func TestMembersFindOneAnother(t *testing.T) {
	bubble(t, func(t *testing.T, net *network) {
		nodes := clusters(t, net, 5)
		defer func() { stopAll(nodes) }()
		time.Sleep(settle)
		for _, n := range nodes {
			require.Equal(t, []string{"w0.c1", "w0.c2", "w0.c3", "w0.c4", "w0.c5"}, n.names())
			_, changes := n.counts("")
			require.NotZero(t, changes)
		}
		require.Equal(t, Member{Name: "w0.c2", Cluster: "c2", Addr: "10.0.0.2:7946", Self: true}, nodes[1].Members()[1])
		require.False(t, nodes[0].Members()[1].Self)
	})
}

// TestSiblingsAreNotEnough: two watchers of a cluster have each other, and go
// on looking for the other clusters as eagerly as one that is alone.
func TestSiblingsAreNotEnough(t *testing.T) {
	bubble(t, func(t *testing.T, net *network) {
		const sibling, east = "10.0.0.2:7946", "10.0.1.1:7946"
		nodes := []*node{
			net.start(t, Config{Name: "w1.west", Advertise: sibling, Join: []string{east}}),
			net.start(t, Config{Name: "w0.west", Advertise: seed, Join: []string{sibling, east}}),
		}
		defer func() { stopAll(nodes) }()
		time.Sleep(time.Second)
		require.Equal(t, []string{"w0.west", "w1.west"}, nodes[0].names())
		nodes = append(nodes, net.start(t, Config{Name: "w0.east", Advertise: east}))
		time.Sleep(settle)
		for _, n := range nodes {
			require.Equal(t, []string{"w0.east", "w0.west", "w1.west"}, n.names())
		}
	})
}

func TestDigestsTravelByPushPull(t *testing.T) {
	bubble(t, func(t *testing.T, net *network) {
		nodes := clusters(t, net, 2)
		defer func() { stopAll(nodes) }()
		time.Sleep(settle)
		for i, peer := range []string{"digest of w0.c2", "digest of w0.c1"} {
			digests, _ := nodes[i].counts(peer)
			require.NotZero(t, digests)
		}
	})
}

func TestSendArrivesAtOnceAndInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, net *network) {
		nodes := clusters(t, net, 3)
		defer func() { stopAll(nodes) }()
		time.Sleep(settle)
		var want []string
		for i := range 200 {
			want = append(want, fmt.Sprintf("message %d", i))
			require.NoError(t, nodes[0].Send("w0.c2", []byte(want[i])))
		}
		time.Sleep(time.Millisecond) // less than any interval of memberlist
		require.Equal(t, want, nodes[1].got())
		require.Empty(t, nodes[2].got())
		require.ErrorIs(t, nodes[0].Send("w0.c9", nil), ErrUnknownMember)
		require.ErrorIs(t, nodes[0].Send("w0.c2", make([]byte, MaxPacket)), ErrTooLarge)
		nodes[0].stop()
		require.ErrorIs(t, nodes[0].Send("w0.c2", nil), ErrNotRunning)
	})
}

func TestRejoinAfterALongSplit(t *testing.T) {
	for _, c := range []struct {
		name     string
		seedDies bool
	}{
		{"through a seed", false},
		{"through a lost member", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, net *network) {
				var dead atomic.Bool
				resolver := resolverFunc(func(string) ([]netip.Addr, error) {
					if dead.Load() {
						return nil, errors.New("no such host")
					}
					return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
				})
				var nodes []*node
				for i := range 4 {
					nodes = append(nodes, net.start(t, Config{
						Name: fmt.Sprintf("w0.c%d", i+1), Advertise: fmt.Sprintf("10.0.0.%d:7946", i+1),
						Join: []string{"seed.example.net:7946"}, Resolver: resolver,
					}))
				}
				defer func() { stopAll(nodes) }()
				time.Sleep(settle)
				require.Len(t, nodes[3].names(), 4)
				dead.Store(c.seedDies)
				east := func(name string) bool { return name == "w0.c3" || name == "w0.c4" }
				net.partition(func(from, to string) bool { return east(from) != east(to) })
				// Long enough for memberlist to bury the other half.
				time.Sleep(10 * time.Minute)
				require.Equal(t, []string{"w0.c1", "w0.c2"}, nodes[0].names())
				require.Equal(t, []string{"w0.c3", "w0.c4"}, nodes[3].names())

				net.partition(nil)
				time.Sleep(time.Minute)
				for _, n := range nodes {
					require.Len(t, n.names(), 4, n.cfg.Name)
				}
			})
		})
	}
}

func TestSeedsAreResolvedAnew(t *testing.T) {
	bubble(t, func(t *testing.T, net *network) {
		var lookups atomic.Int64
		resolver := resolverFunc(func(host string) ([]netip.Addr, error) {
			if host != "east.example.net" {
				return nil, fmt.Errorf("unexpected host %q", host)
			}
			if lookups.Add(1) <= 3 {
				return []netip.Addr{netip.MustParseAddr("10.9.9.9")}, nil // the old load balancer
			}
			return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
		})
		first := net.start(t, Config{Name: "w0.east", Advertise: seed})
		second := net.start(t, Config{
			Name: "w0.west", Advertise: "10.0.0.2:7946",
			Join: []string{"east.example.net:7946"}, Resolver: resolver,
		})
		defer func() { stopAll([]*node{first, second}) }()
		time.Sleep(10 * time.Second)
		require.Equal(t, []string{"w0.east", "w0.west"}, first.names())
		require.Equal(t, []string{"w0.east", "w0.west"}, second.names())
	})
}

func TestMemberReturnsFromAnotherAddress(t *testing.T) {
	bubble(t, func(t *testing.T, net *network) {
		nodes := clusters(t, net, 3)
		defer func() { stopAll(nodes) }()
		time.Sleep(settle)
		net.unplug("10.0.0.3:7946") // it dies without a farewell
		time.Sleep(2 * time.Minute)
		require.Equal(t, []string{"w0.c1", "w0.c2"}, nodes[0].names())
		again := net.start(t, Config{Name: "w0.c3", Advertise: "10.0.0.33:7946", Join: []string{seed}})
		defer again.stop()
		time.Sleep(30 * time.Second)
		i := slices.IndexFunc(nodes[1].Members(), func(m Member) bool { return m.Name == "w0.c3" })
		require.NotEqual(t, -1, i)
		require.Equal(t, "10.0.0.33:7946", nodes[1].Members()[i].Addr)
	})
}

func TestFarewellIsHeard(t *testing.T) {
	bubble(t, func(t *testing.T, net *network) {
		nodes := clusters(t, net, 3)
		defer func() { stopAll(nodes) }()
		time.Sleep(settle)
		begun := time.Now()
		nodes[2].stop()
		require.LessOrEqual(t, time.Since(begun), DefaultTuning().LeaveTimeout)
		time.Sleep(time.Second) // far less than a probe needs to notice a death
		require.Equal(t, []string{"w0.c1", "w0.c2"}, nodes[0].names())
		require.Equal(t, []string{"w0.c1", "w0.c2"}, nodes[1].names())
	})
}

func TestForeignMembersAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T, net *network) {
		nodes := clusters(t, net, 2)
		defer func() { stopAll(nodes) }()
		// A member whose own checks are off sends what it likes.
		evil := net.start(t, Config{Name: "w0.c3", Advertise: "10.0.0.3:7946", Join: []string{seed}})
		defer evil.stop()
		time.Sleep(settle)
		for _, name := range []string{"no-dot", "Upper.case", "a.b.c", "-a.b", strings.Repeat("x", 64) + ".c"} {
			sendAlive(t, evil, name, []byte{10, 0, 0, 9}, nil)
		}
		sendAlive(t, evil, "meta.c9", []byte{10, 0, 0, 9}, make([]byte, maxMeta+1))
		sendAlive(t, evil, "addr.c9", []byte{10, 0, 0}, nil)
		sendAlive(t, evil, "fine.c9", []byte{10, 0, 0, 9}, nil)
		time.Sleep(time.Second)
		require.Equal(t, []string{"fine.c9", "w0.c1", "w0.c2", "w0.c3"}, nodes[0].names())
		require.GreaterOrEqual(t, value(t, nodes[0].metrics.refused.WithLabelValues("member")), 7.0)
	})
}

func TestConfigIsValidated(t *testing.T) {
	good := Config{Name: "w0.c1", Advertise: seed, Transport: &port{}, Handler: &recorder{}}
	require.NoError(t, good.Validate())
	for name, spoil := range map[string]func(*Config){
		"name":          func(c *Config) { c.Name = "w0" },
		"advertise":     func(c *Config) { c.Advertise = "10.0.0.1" },
		"seed":          func(c *Config) { c.Join = []string{"east:0"} },
		"transport":     func(c *Config) { c.Transport = nil },
		"packet budget": func(c *Config) { c.Tuning.PacketBudget = MaxPacketBudget + 1 },
		"interval":      func(c *Config) { c.Tuning.GossipInterval = -1 },
		"probe timeout": func(c *Config) { c.Tuning.ProbeTimeout = time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			spoil(&c)
			require.Error(t, c.Validate())
		})
	}
}

func TestMetricsTwiceIsAnError(t *testing.T) {
	r := prometheus.NewRegistry()
	cfg := Config{Name: "w0.c1", Advertise: seed, Transport: &port{}, Handler: &recorder{}, Registerer: r}
	_, err := New(cfg)
	require.NoError(t, err)
	_, err = New(cfg)
	require.ErrorContains(t, err, "gossip metrics")
}

type resolverFunc func(host string) ([]netip.Addr, error)

func (f resolverFunc) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	return f(host)
}
