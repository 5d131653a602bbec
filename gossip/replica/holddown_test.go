package replica

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// behind makes a service behind a gateway of its own.
func behind(kind discovery.GatewayKind, port uint16, addrs ...string) *discovery.Service {
	s := service("user", 3)
	for _, a := range addrs {
		s.Gateways = append(s.Gateways, discovery.Gateway{Addresses: []netip.Addr{netip.MustParseAddr(a)}, Kind: kind, Check: discovery.CheckTCP})
	}
	s.Ports[0].Gateway = port
	return s
}

// gateways are the addresses and the port at which the table shows the service.
func (g *guarded) gateways() (addrs []string, port uint16) {
	e := g.config.Table.Lookup("user.production")
	if e == nil {
		return []string{"gone"}, 0
	}
	s := e.Candidate("east")
	for _, gw := range s.Gateways {
		addrs = append(addrs, gw.Addresses[0].String())
	}
	return addrs, s.Ports[0].Gateway
}

const (
	lb = discovery.GatewayLoadBalancer
	np = discovery.GatewayNodePort
)

func (g *guarded) now(s *discovery.Service) {
	g.publisher.Update(discovery.Update{Services: []*discovery.Service{s}})
	pass(time.Second)
}

func (g *guarded) requireGateways(port uint16, addrs ...string) {
	g.t.Helper()
	gotAddrs, gotPort := g.gateways()
	require.Equal(g.t, addrs, gotAddrs)
	require.Equal(g.t, port, gotPort)
}

func startBehind(t *testing.T, s *discovery.Service) *guarded {
	g := startGuarded(t, 1)
	g.publisher.Update(discovery.Update{Services: []*discovery.Service{s}})
	g.lead()
	return g
}

func TestGatewayThatLosesItsLastAddressIsHeld(t *testing.T) {
	for what, lost := range map[string]*discovery.Service{
		"and there is none":           behind(lb, 0),
		"and node ports would follow": behind(np, 30080, "10.0.0.7"),
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := startBehind(t, behind(lb, 8080, "192.0.2.1", "192.0.2.2"))
				g.now(behind(lb, 8080, "192.0.2.2"))
				g.requireGateways(8080, "192.0.2.2") // not the last
				g.now(lost)
				g.requireGateways(8080, "192.0.2.2")

				pass(holdDown / 2)
				more := *lost
				more.Counts = []discovery.ZoneCount{{Zone: "a", Ready: 1, Total: 3}}
				g.now(&more)
				g.requireGateways(8080, "192.0.2.2")
				require.Equal(t, 1, ready(g.config.Table, "user", "east"), "all else is up to date")
				pass(holdDown/2 - 4*time.Second)
				g.requireGateways(8080, "192.0.2.2")
				pass(4 * time.Second)
				var want []string
				for _, gw := range lost.Gateways {
					want = append(want, gw.Addresses[0].String())
				}
				g.requireGateways(lost.Ports[0].Gateway, want...)
			})
		})
	}
}

func TestNewAddressesReplaceHeldOnesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startBehind(t, behind(lb, 8080, "192.0.2.1"))
		g.now(behind(lb, 0))
		g.now(behind(lb, 8080, "192.0.2.9"))
		g.requireGateways(8080, "192.0.2.9")
		pass(holdDown - 10*time.Second)
		g.now(behind(lb, 0))
		pass(20 * time.Second)
		g.requireGateways(8080, "192.0.2.9") // the second loss has its own minute
		pass(holdDown)
		g.requireGateways(0)
	})
}

func TestNodePortsAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startBehind(t, behind(np, 30080, "10.0.0.7"))
		g.now(behind(np, 0))
		g.requireGateways(30080, "10.0.0.7")
		g.now(behind(np, 30080, "10.0.0.8"))
		g.requireGateways(30080, "10.0.0.8")
	})
}

// TestWhatIsMeantIsNotHeld: a service that is deleted, and a gateway that
// somebody named.
func TestWhatIsMeantIsNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startBehind(t, behind(lb, 8080, "192.0.2.1"))
		g.now(behind(discovery.GatewayStatic, 0, "192.0.2.99"))
		g.requireGateways(0, "192.0.2.99")
		g.now(behind(lb, 0))
		g.requireGateways(0) // an annotation is no status
		g.now(behind(lb, 8080, "192.0.2.1"))
		set := behind(lb, 0)
		set.GatewaySet = "edge"
		g.now(set)
		g.requireGateways(0)
		g.now(behind(lb, 8080, "192.0.2.1"))
		g.now(behind(lb, 0))
		g.publisher.Update(discovery.Update{Removed: []discovery.Key{"user.production"}})
		pass(time.Second)
		g.requireGateways(0, "gone")
		pass(2 * holdDown)
		g.now(behind(lb, 0))
		g.requireGateways(0)
	})
}

// TestGatewaysThatSomebodyTookAwayAreNotHeld: the source tells them from those
// whose status was lost.
func TestGatewaysThatSomebodyTookAwayAreNotHeld(t *testing.T) {
	for what, left := range map[string]*discovery.Service{
		"and there is none": behind(lb, 0),
		"for node ports":    behind(np, 30080, "10.0.0.7"),
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := startBehind(t, behind(lb, 8080, "192.0.2.1"))
				g.now(behind(lb, 0))
				g.requireGateways(8080, "192.0.2.1") // held
				u := discovery.Update{Services: []*discovery.Service{left}}
				u.Mean("user.production")
				g.publisher.Update(u)
				pass(time.Second)
				var want []string
				for _, gw := range left.Gateways {
					want = append(want, gw.Addresses[0].String())
				}
				g.requireGateways(left.Ports[0].Gateway, want...)
			})
		})
	}
}

// TestNewLeaderHoldsToo: it sees the address only in what is published.
func TestNewLeaderHoldsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGuarded(t, 0)
		g.publisher.Update(discovery.Update{Services: []*discovery.Service{behind(lb, 0)}})
		before := records(t, behind(lb, 8080, "192.0.2.1"))
		h, _ := from(t, g.config.Identity, &wire.Head{Uid: "uid-east", Epoch: 7, Seq: 5}, before)
		bring(t, g.Replica, h, before)
		go func() { _ = g.publisher.Lead(t.Context(), &counter{}) }()
		pass(holdDown - time.Second)
		g.requireGateways(8080, "192.0.2.1")
		pass(2 * time.Second)
		g.requireGateways(0)
	})
}

// hangs is a source that does not answer a second time.
type hangs struct{}

func (hangs) Confirm(ctx context.Context, _, _ []discovery.Key) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestASourceThatHangsDelaysNoHold: while it is asked whether services are gone,
// the gateways of another one are given up in their time.
func TestASourceThatHangsDelaysNoHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGuarded(t, 40)
		g.publisher.Update(discovery.Update{Services: []*discovery.Service{behind(lb, 8080, "192.0.2.1")}})
		g.publisher.ConfirmWith(hangs{})
		g.lead()
		g.remove(0, 40)
		pass(guardTime - 10*time.Second)
		require.Equal(t, 40, g.held())
		g.now(behind(lb, 0))
		g.requireGateways(8080, "192.0.2.1")
		pass(holdDown)
		g.requireGateways(0)
		require.Equal(t, 40, g.held(), "the question has no answer yet")
	})
}

// setsOf makes a cluster's record with a set of the kind at each address.
func setsOf(kind discovery.GatewayKind, sets map[string][]string) *discovery.Cluster {
	c := &discovery.Cluster{Name: "east", UID: "uid-east"}
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		set := discovery.GatewaySet{Name: name}
		for _, a := range sets[name] {
			set.Gateways = append(set.Gateways, discovery.Gateway{Addresses: []netip.Addr{netip.MustParseAddr(a)}, Port: 443, Kind: kind, Check: discovery.CheckTCP})
		}
		c.GatewaySets = append(c.GatewaySets, set)
	}
	return c
}

func (g *guarded) set(name string) []string {
	for _, c := range g.config.Table.Clusters() {
		for _, set := range c.Cluster.GatewaySets {
			if c.Cluster.Name == "east" && set.Name == name {
				out := []string{}
				for _, gw := range set.Gateways {
					out = append(out, gw.Addresses[0].String())
				}
				return out
			}
		}
	}
	return nil
}

// TestGatewaySetsAreHeld: a set whose object has lost its status keeps its
// addresses for a while; one that others have, and one that is taken out of the
// configuration, change at once.
func TestGatewaySetsAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGuarded(t, 1)
		publish := func(kind discovery.GatewayKind, sets map[string][]string) {
			g.publisher.Update(discovery.Update{Cluster: setsOf(kind, sets)})
			pass(time.Second)
		}
		g.publisher.Update(discovery.Update{Cluster: setsOf(lb, map[string][]string{"a": {"192.0.2.1"}, "b": {"192.0.2.2"}, "c": {"192.0.2.3"}})})
		g.lead()
		publish(lb, map[string][]string{"a": nil, "b": {"192.0.2.9"}})
		require.Equal(t, []string{"192.0.2.1"}, g.set("a"), "held")
		require.Equal(t, []string{"192.0.2.9"}, g.set("b"), "all else is up to date")
		require.Nil(t, g.set("c"), "meant")
		publish(lb, map[string][]string{"a": {"192.0.2.7"}, "b": {"192.0.2.9"}})
		require.Equal(t, []string{"192.0.2.7"}, g.set("a"), "a new address counts at once")
		publish(lb, map[string][]string{"a": nil, "b": {"192.0.2.9"}})
		pass(holdDown - 5*time.Second)
		require.Equal(t, []string{"192.0.2.7"}, g.set("a"), "the second loss has its own minute")
		pass(5 * time.Second)
		require.Empty(t, g.set("a"))
		publish(discovery.GatewayStatic, map[string][]string{"b": {"192.0.2.8"}})
		publish(discovery.GatewayStatic, map[string][]string{"b": nil})
		require.Empty(t, g.set("b"), "what was written out is not held")
	})
}

// TestEachGatewaySetHasItsOwnMinute: one that is lost later is held as long.
func TestEachGatewaySetHasItsOwnMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGuarded(t, 1)
		publish := func(sets map[string][]string) {
			g.publisher.Update(discovery.Update{Cluster: setsOf(lb, sets)})
			pass(time.Second)
		}
		g.publisher.Update(discovery.Update{Cluster: setsOf(lb, map[string][]string{"a": {"192.0.2.1"}, "b": {"192.0.2.2"}})})
		g.lead()
		publish(map[string][]string{"a": nil, "b": {"192.0.2.2"}})
		pass(holdDown - 10*time.Second)
		publish(map[string][]string{"a": nil, "b": nil})
		pass(20 * time.Second)
		require.Empty(t, g.set("a"))
		require.Equal(t, []string{"192.0.2.2"}, g.set("b"))
		pass(holdDown - 25*time.Second)
		require.Equal(t, []string{"192.0.2.2"}, g.set("b"))
		pass(10 * time.Second)
		require.Empty(t, g.set("b"))
	})
}
