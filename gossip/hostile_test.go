package gossip

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// accusation has the fields of memberlist's suspect and dead messages.
type accusation struct {
	Incarnation uint32
	Node        string
	From        string
}

// evil is an authenticated watcher of a cluster that says what it likes.
func (n *network) evil() *port { return n.listen("w0.evil", "10.6.6.6:7946") }

func (p *port) say(t *testing.T, to *node, msgs ...[]byte) {
	t.Helper()
	for len(msgs) > 0 {
		n := min(len(msgs), 200)
		b := msgs[0]
		if n > 1 {
			b = compound(msgs[:n]...)
		}
		_, err := p.WritePacket(b, Peer{Addr: to.cfg.Advertise})
		require.NoError(t, err)
		msgs = msgs[n:]
	}
}

func (n *node) dropped(t *testing.T, a allowance) float64 {
	t.Helper()
	return value(t, n.metrics.dropped.WithLabelValues(a.reason))
}

// TestOneClusterFillsItsOwnAllowance: what a cluster says too much is dropped
// and counted by kind, under whatever names, and others are heard.
func TestOneClusterFillsItsOwnAllowance(t *testing.T) {
	bubble(t, func(t *testing.T, net *network) {
		nodes := clusters(t, net, 2)
		defer func() { stopAll(nodes) }()
		time.Sleep(settle)
		members := []*port{net.evil(), net.listen("w1.evil", "10.6.6.7:7946")}
		for _, c := range []struct {
			kind byte
			of   allowance
		}{
			{typeUser, allowMessages},
			{typePing, allowPings},
			{typeIndirectPing, allowPings},
			{typeAck, allowAcks},
			{typeNack, allowAcks},
			{typeSuspect, allowAccusations},
			{typeDead, allowAccusations},
			{typeAlive, allowClaims},
		} {
			before := nodes[0].dropped(t, c.of)
			var flood [][]byte
			for range c.of.burst + 100 {
				flood = append(flood, []byte{c.kind, 0x80})
			}
			members[0].say(t, nodes[0], flood[:len(flood)/2]...)
			members[1].say(t, nodes[0], flood[len(flood)/2:]...)
			time.Sleep(time.Millisecond) // some are dropped by memberlist's own queue
			require.GreaterOrEqual(t, nodes[0].dropped(t, c.of), before+90, c.of.reason)
		}
		require.NoError(t, nodes[1].Send("w0.c1", []byte("honest")))
		time.Sleep(time.Millisecond)
		require.Contains(t, nodes[0].got(), "honest")
		require.Zero(t, nodes[1].dropped(t, allowMessages))
	})
}

// TestAHostileClusterCantCutOthersApart: one that calls everybody dead, with
// incarnations that nobody can go beyond, keeps no two others from speaking.
func TestAHostileClusterCantCutOthersApart(t *testing.T) {
	for _, incarnation := range []uint32{1 << 20, math.MaxUint32} {
		t.Run(fmt.Sprint(incarnation), func(t *testing.T) {
			bubble(t, func(t *testing.T, net *network) {
				nodes := clusters(t, net, 4)
				defer func() { stopAll(nodes) }()
				evil := net.evil()
				time.Sleep(settle)
				apart := 0
				for second := range 300 {
					for _, victim := range nodes {
						var msgs [][]byte
						for _, accused := range nodes {
							a := accusation{Incarnation: incarnation, Node: accused.cfg.Name, From: fmt.Sprintf("w%d.evil", second)}
							msgs = append(msgs, encode(t, typeSuspect, a), encode(t, typeDead, a))
						}
						evil.say(t, victim, msgs...)
					}
					text := fmt.Sprint("message ", second)
					require.NoError(t, nodes[0].Send("w0.c2", []byte(text)))
					require.NoError(t, nodes[2].Send("w0.c2", []byte(text)))
					time.Sleep(time.Second)
					if len(nodes[3].Members()) < 4 {
						apart++
					}
				}
				t.Logf("apart in %d of 300 looks", apart)
				require.Less(t, apart, 150, "without the roster's own ears it is 299")
				require.Contains(t, nodes[1].got(), "message 299")
				// When it stops, all is as before.
				time.Sleep(3 * time.Minute)
				for _, n := range nodes {
					require.Equal(t, []string{"w0.c1", "w0.c2", "w0.c3", "w0.c4"}, n.names())
				}
			})
		})
	}
}

// TestInventedMembersAreBounded: a hostile cluster invents members of itself,
// and of another cluster at addresses of its choice.
func TestInventedMembersAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, net *network) {
		nodes := clusters(t, net, 3)
		defer func() { stopAll(nodes) }()
		evil := net.evil()
		time.Sleep(settle)
		var claims [][]byte
		for i := range 1000 {
			for _, cluster := range []string{"evil", "c9"} {
				claims = append(claims, encode(t, typeAlive, aliveMessage{
					Incarnation: math.MaxUint32, Node: fmt.Sprintf("x%d.%s", i, cluster), Addr: []byte{10, 6, 6, 6}, Port: 7946,
					Vsn: []uint8{1, 5, protocol, delegateProtocol, delegateProtocol, delegateProtocol},
				}))
			}
		}
		evil.say(t, nodes[0], claims...)
		time.Sleep(100 * time.Millisecond)
		require.LessOrEqual(t, len(nodes[0].Members()), 3+2*MaxPerCluster)
		require.Greater(t, value(t, nodes[0].metrics.refused.WithLabelValues("member")), 500.0)
		require.LessOrEqual(t, nodes[0].list.Load().NumMembers(), 3+2*MaxPerCluster, "memberlist holds no more either")

		// The real watcher of that cluster joins all the same, and the invented
		// ones are found out.
		real := net.start(t, Config{Name: "w0.c9", Advertise: "10.0.0.9:7946", Join: []string{seed}})
		defer real.stop()
		time.Sleep(10 * time.Minute)
		for _, n := range append(nodes, real) {
			require.Equal(t, []string{"w0.c1", "w0.c2", "w0.c3", "w0.c9"}, n.names())
		}
	})
}

// TestAWrongAddressIsFoundOut: a hostile cluster claims a member at a wrong
// address before others have heard of it.
func TestAWrongAddressIsFoundOut(t *testing.T) {
	bubble(t, func(t *testing.T, net *network) {
		nodes := clusters(t, net, 3)
		defer func() { stopAll(nodes) }()
		evil := net.evil()
		time.Sleep(settle)
		for _, n := range nodes {
			evil.say(t, n, encode(t, typeAlive, aliveMessage{
				Incarnation: 7, Node: "w0.c9", Addr: []byte{10, 7, 7, 7}, Port: 7946,
				Vsn: []uint8{1, 5, protocol, delegateProtocol, delegateProtocol, delegateProtocol},
			}))
		}
		time.Sleep(time.Second)
		require.Len(t, nodes[0].names(), 4)
		real := net.start(t, Config{Name: "w0.c9", Advertise: "10.0.0.9:7946", Join: []string{seed}})
		defer real.stop()
		time.Sleep(5 * time.Minute)
		for _, n := range nodes {
			addr, ok := n.roster.addr("w0.c9")
			require.True(t, ok)
			require.Equal(t, "10.0.0.9:7946", addr.String())
		}
	})
}

func TestSiblingsMaySayMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // nothing is refilled meanwhile
		b := budgets{own: "own"}
		for range ownTimes * allowMessages.burst {
			require.True(t, b.spend("own", &allowMessages))
		}
		for range allowMessages.burst {
			require.True(t, b.spend("other", &allowMessages))
		}
		require.False(t, b.spend("other", &allowMessages))
	})
}
