package locality_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// clients are the numbers of Pods in some nodes' ranges.
func clients(n int) []uint64 {
	all := make([]uint64, n)
	for i := range all {
		all[i] = locality.ClientHash(netip.AddrFrom4([4]byte{10, 244, byte(i >> 8), byte(i)}))
	}
	return all
}

// homes are the clusters that clients get.
func homes(plan *locality.Plan, candidates []locality.Candidate, clients []uint64) []string {
	homes := make([]string, len(clients))
	for i, c := range clients {
		homes[i] = candidates[plan.PickFor(c)].Cluster
	}
	return homes
}

func affine(t testing.TB) locality.Policy {
	return policyOf(t, locality.Rules{Affinity: locality.AffinityClient})
}

// A client keeps its cluster through 1,000 changes elsewhere: of clusters in
// tiers that nobody is sent to, of localities, of what is measured, and of the
// order in which candidates come.
func TestAffinityKeeps(t *testing.T) {
	policy := affine(t)
	candidates := readAll(t, "a us-west1/us-west1-b 3/3\nb us-west1/us-west1-b 2/2\nc us-west1/us-west1-c 5/5\nfar us-east1 2/2\nlast - 7/7")
	all := clients(2000)
	before := homes(locality.Decide(viewer, policy, candidates), candidates, all)
	random := rand.New(rand.NewPCG(7, 8))
	for range 1000 {
		switch i := random.IntN(len(candidates)); random.IntN(6) {
		case 0:
			random.Shuffle(len(candidates), func(i, j int) { candidates[i], candidates[j] = candidates[j], candidates[i] })
		case 1:
			candidates[i].RTT += 1e6
		case 2:
			candidates[i].Gateway = locality.GatewayUp
		default: // what is in another tier may do as it likes
			i = slices.IndexFunc(candidates, func(c locality.Candidate) bool { return c.Cluster == []string{"far", "last"}[i%2] })
			candidates[i].Ready = random.Uint32N(10)
			candidates[i].Freshness = locality.Freshness(random.IntN(3))
			candidates[i].Gateway = locality.Gateway(random.IntN(3))
		}
		require.Equal(t, before, homes(locality.Decide(viewer, policy, candidates), candidates, all))
	}
}

// Through 1,000 changes of anything a client leaves its cluster only for one
// whose share grew in relation to it.
func TestAffinityMovesOnlyWhatMustMove(t *testing.T) {
	policy := affine(t)
	candidates := readAll(t, "a us-west1 30/30\nb us-west1 20/20\nc us-west1 50/50\nd us-east1 20/20\ne us-east1 10/10\nf - 10/10")
	all := clients(500)
	plan := locality.Decide(viewer, policy, candidates)
	random := rand.New(rand.NewPCG(9, 10))
	moves := 0
	for range 1000 {
		c := &candidates[random.IntN(len(candidates))]
		switch random.IntN(4) {
		case 0:
			c.Gateway = locality.Gateway(random.IntN(3))
		case 1:
			c.Freshness = locality.Freshness(random.IntN(3))
		case 2:
			c.Weight = random.Uint32N(4)
		case 3:
			c.Ready = random.Uint32N(c.Total + 1)
		}
		next := locality.Decide(viewer, policy, candidates)
		for _, client := range all {
			from, to := plan.PickFor(client), next.PickFor(client)
			if from == to || from < 0 || to < 0 {
				continue
			}
			moves++
			before := plan.Verdicts[to].Share / plan.Verdicts[from].Share
			after := next.Verdicts[to].Share / next.Verdicts[from].Share
			require.Greater(t, after, before, "from %d to %d", from, to)
		}
		plan = next
	}
	require.NotZero(t, moves)
}

// When one of n clusters leaves, its clients move, evenly, and no others.
func TestAffinityLeaving(t *testing.T) {
	policy := affine(t)
	all := clients(20_000)
	for _, n := range []int{2, 5, 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			candidates := many(n)
			for i := range candidates {
				candidates[i].Ready, candidates[i].Total = 2, 2
			}
			before := homes(locality.Decide(viewer, policy, candidates), candidates, all)
			// With the tier at 1 - 1/n of its endpoints nothing spills, as
			// there is no other tier.
			candidates[n/2].Gateway = locality.GatewayDown
			plan := locality.Decide(viewer, policy, candidates)
			after := homes(plan, candidates, all)
			gained := map[string]int{}
			moved := 0
			for i := range all {
				if before[i] != after[i] {
					require.Equal(t, candidates[n/2].Cluster, before[i])
					gained[after[i]]++
					moved++
				}
			}
			require.InDelta(t, 1/float64(n), float64(moved)/float64(len(all)), 0.02)
			require.Len(t, gained, n-1)
			for cluster, clients := range gained {
				require.InDelta(t, 1/float64(n-1), float64(clients)/float64(moved), 0.1, cluster)
			}
			// And back.
			candidates[n/2].Gateway = locality.GatewayUp
			require.Equal(t, before, homes(locality.Decide(viewer, policy, candidates), candidates, all))
		})
	}
}

func TestClientHash(t *testing.T) {
	hash := func(s string) uint64 { return locality.ClientHash(netip.MustParseAddr(s)) }
	require.Equal(t, hash("10.0.0.1"), hash("::ffff:10.0.0.1"))
	require.Equal(t, hash("fe80::1"), hash("fe80::1%eth0"))
	require.NotEqual(t, hash("2001:db8::1"), hash("2001:db8::2"), "two Pods of a node's /64")
	require.NotEqual(t, hash("2001:db8:0:1::1"), hash("2001:db8:0:2::1"))
	locality.ClientHash(netip.Addr{}) // a client without address doesn't panic
	// All agents, of any version, send a client to the same cluster. The
	// numbers are from another implementation of SplitMix64.
	require.Equal(t, uint64(0x9f648f1934c1e424), hash("10.0.0.1"))
	require.Equal(t, uint64(0x4de897d954fd23d5), hash("2001:db8::1"))
}

// What a plan without affinity does with clients is no worse than with numbers.
func TestPickForWithoutAffinity(t *testing.T) {
	plan := locality.Decide(viewer, locality.Policy{}, readAll(t, "a us-west1 3/3\nb us-west1 1/1"))
	require.False(t, plan.Affine())
	got := [2]int{}
	for i := range uint64(10_000) { // not even hashed
		got[plan.PickFor(i)]++
	}
	require.InDelta(t, 7500, got[0], 150)
	require.Equal(t, -1, (&locality.Plan{}).PickFor(1))
	require.Equal(t, -1, locality.Decide(viewer, affine(t), nil).PickFor(1))
	require.Equal(t, -1, locality.Decide(viewer, affine(t), readAll(t, "a us-west1 0/3")).PickFor(1))
}
