package gossip

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var someAddr = netip.MustParseAddrPort("10.0.0.1:1")

func TestRosterIsBounded(t *testing.T) {
	const while = time.Minute
	r := newRoster("w0.self")
	for i := range MaxMembers {
		name := fmt.Sprintf("w.c%d", i)
		require.True(t, r.admit(name, while))
		r.join(name, someAddr)
	}
	require.False(t, r.admit("one.more", while))
	require.True(t, r.admit("w.c0", while), "it is a member already")
	r.leave("w.c0")
	require.False(t, r.admit("one.more", while), "memberlist still remembers the one that left")
	require.True(t, r.admit("w.c0", while), "it may come back")
	require.True(t, r.admit("one.more", 0))
	for i := range MaxMembers {
		r.leave(fmt.Sprintf("w.c%d", i))
	}
	r.join("late.c", someAddr)
	r.leave("late.c")
	require.Len(t, r.lost, MaxMembers)
	require.Contains(t, r.lost, "late.c")
	require.Len(t, r.someLost(3), 3)
	require.Len(t, r.names, MaxMembers)
}

// TestAClusterFillsOnlyItsOwnRoom: a cluster that invents members neither
// crowds out others nor is remembered for ever.
func TestAClusterFillsOnlyItsOwnRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const while = time.Minute
		r := newRoster("w0.self")
		invent := func(n int) (in int) {
			for i := range n {
				if name := fmt.Sprintf("w%d-%d.evil", time.Now().Unix(), i); r.admit(name, while) {
					r.join(name, someAddr)
					in++
				}
			}
			return in
		}
		require.Equal(t, MaxPerCluster, invent(1000))
		require.True(t, r.admit("w0.other", while))
		for name := range r.live {
			r.leave(name)
		}
		time.Sleep(while / 2)
		require.Zero(t, invent(1000), "memberlist still remembers the dead")
		time.Sleep(while)
		require.Equal(t, MaxPerCluster, invent(1000), "they don't count for ever")
		for name := range r.live {
			r.leave(name)
		}
		require.Len(t, r.lost, MaxPerCluster)
		time.Sleep(lostFor + time.Minute)
		require.Empty(t, r.someLost(1000))
		require.Empty(t, r.names)
	})
}

// TestInventedMembersDontKeepOutRealOnes: anyone may claim members of any
// cluster. Who speaks to us with that cluster's certificate is let in.
func TestInventedMembersDontKeepOutRealOnes(t *testing.T) {
	const while = time.Minute
	r := newRoster("w0.self")
	for i := range MaxPerCluster {
		r.join(fmt.Sprintf("fake%d.honest", i), someAddr)
	}
	require.False(t, r.admit("w0.honest", while))
	r.heard("w0.honest")
	require.True(t, r.admit("w0.honest", while))
	// But no more than as many again.
	for i := range 1000 {
		r.heard(fmt.Sprintf("w%d.honest", i))
	}
	in := 0
	for i := range 1000 {
		if name := fmt.Sprintf("w%d.honest", i); r.admit(name, while) {
			r.join(name, someAddr)
			in++
		}
	}
	require.Equal(t, MaxPerCluster, in)
}

func TestLostMembersOfManyClustersFirst(t *testing.T) {
	r := newRoster("w0.self")
	for c := range 4 {
		for w := range 3 {
			name := fmt.Sprintf("w%d.c%d", w, c)
			r.join(name, someAddr)
			r.leave(name)
		}
	}
	clusters := map[string]bool{}
	for _, p := range r.someLost(4) {
		clusters[ClusterOf(p.Name)] = true
	}
	require.Len(t, clusters, 4)
	require.Len(t, r.someLost(100), 12)
}

func TestWhoSpeaksIsNotDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoster("w0.self")
		r.join("w0.c", someAddr)
		r.heard("w0.c")
		r.leave("w0.c")
		require.Empty(t, r.members())
		require.False(t, r.heard("w0.c"), "that was its farewell")
		time.Sleep(farewell)
		require.True(t, r.heard("w0.c"))
		require.False(t, r.heard("w0.c"), "it is back already")
		require.Len(t, r.members(), 1)
		for range 3 {
			r.join("w0.other", someAddr)
			r.leave("w0.other")
			require.Equal(t, "w0.c", r.someLost(1)[0].Name, "the first to be joined again")
		}
		time.Sleep(spokeFor)
		r.someLost(1)
		require.Empty(t, r.members(), "it fell silent")
	})
}

// TestNamesThatWereReplacedAreLeftAlone: behind one address, new watchers have
// taken the place of those that are lost.
func TestNamesThatWereReplacedAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoster("w0.self")
		for _, name := range []string{"old0.east", "old1.east", "old0.west"} {
			r.join(name, someAddr)
			r.leave(name)
		}
		r.join("new0.east", someAddr)
		require.Len(t, r.someLost(10), 3, "anybody can say that it is there")
		r.heard("new0.east")
		require.Equal(t, []Peer{{Name: "old0.west", Addr: someAddr.String()}}, r.someLost(10))
		time.Sleep(2 * spokeFor)
		require.Len(t, r.someLost(10), 3, "it fell silent")
	})
}

// TestWhoSpeaksLeavesOthersTheirTurn: members that speak to us and can't be
// joined don't keep all others from being tried.
func TestWhoSpeaksLeavesOthersTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoster("w0.self")
		for i := range lostPerRound {
			name := fmt.Sprintf("w%d.evil", i)
			r.join(name, someAddr)
			r.leave(name)
		}
		r.join("w0.honest", netip.MustParseAddrPort("10.0.0.2:1"))
		r.leave("w0.honest")
		time.Sleep(farewell)
		for i := range lostPerRound {
			require.True(t, r.heard(fmt.Sprintf("w%d.evil", i)))
		}
		tried := r.someLost(lostPerRound)
		require.Len(t, tried, lostPerRound)
		require.Equal(t, "w0.honest", tried[lostPerRound-1].Name)
		require.Equal(t, "evil", ClusterOf(r.someLost(1)[0].Name))
	})
}
