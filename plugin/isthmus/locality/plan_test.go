package locality_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

var viewer = locality.Viewer{
	Cluster:  "west",
	Locality: discovery.Locality{Region: "us-west1", Zone: "us-west1-a"},
}

func candidate(name, where string, ready uint32) locality.Candidate {
	l, err := discovery.ParseLocality(where)
	if err != nil {
		panic(err)
	}
	reach := locality.ByGateway
	if name == viewer.Cluster {
		reach = locality.ByService
	}
	return locality.Candidate{Cluster: name, Locality: l, Ready: ready, Total: ready, Reach: reach}
}

func TestDecideTiers(t *testing.T) {
	weighted := candidate("heavy", "us-west1/us-west1-b", 2)
	weighted.Weight = 3
	unresolved := candidate("lb", "us-west1/us-west1-a", 2)
	unresolved.Reach = locality.Unresolved
	nogateway := candidate("island", "us-west1/us-west1-a", 2)
	nogateway.Reach = locality.NoGateway
	noaddress := candidate("west", "us-west1/us-west1-a", 2)
	noaddress.Reach = locality.NoAddress

	tests := []struct {
		name       string
		viewer     locality.Viewer
		candidates []locality.Candidate
		want       []locality.Verdict
	}{
		{
			name:   "own cluster wins",
			viewer: viewer,
			candidates: []locality.Candidate{
				candidate("west", "us-west1/us-west1-a", 1),
				candidate("next", "us-west1/us-west1-a", 90),
			},
			want: []locality.Verdict{
				{Tier: locality.TierOwn, Weight: 1, Share: 1, In: true, Reason: locality.ReasonChosen},
				{Tier: locality.TierZone, Priority: 1, Weight: 90, Reason: locality.ReasonStandby},
			},
		},
		{
			name:   "own cluster without ready endpoint gives way to the zone",
			viewer: viewer,
			candidates: []locality.Candidate{
				candidate("west", "us-west1/us-west1-a", 0),
				candidate("region", "us-west1/us-west1-b", 9),
				candidate("zone", "us-west1/us-west1-a", 1),
				candidate("far", "us-east1/us-west1-a", 9),
			},
			want: []locality.Verdict{
				{Tier: locality.TierOut, Reason: locality.ReasonNoReady},
				{Tier: locality.TierRegion, Priority: 2, Weight: 9, Reason: locality.ReasonStandby},
				{Tier: locality.TierZone, Priority: 1, Weight: 1, Share: 1, In: true, Reason: locality.ReasonChosen},
				{Tier: locality.TierOther, Priority: 3, Weight: 9, Reason: locality.ReasonStandby},
			},
		},
		{
			name:   "weight counts per ready endpoint inside a tier",
			viewer: viewer,
			candidates: []locality.Candidate{
				weighted,
				candidate("light", "us-west1/us-west1-c", 2),
			},
			want: []locality.Verdict{
				{Tier: locality.TierRegion, Priority: 2, Weight: 6, Share: 0.75, In: true, Reason: locality.ReasonChosen},
				{Tier: locality.TierRegion, Priority: 2, Weight: 2, Share: 0.25, In: true, Reason: locality.ReasonChosen},
			},
		},
		{
			name:       "what can't be reached is out and says why",
			viewer:     viewer,
			candidates: []locality.Candidate{unresolved, nogateway, noaddress, candidate("far", "", 1)},
			want: []locality.Verdict{
				{Tier: locality.TierOut, Reason: locality.ReasonUnresolved},
				{Tier: locality.TierOut, Reason: locality.ReasonNoGateway},
				{Tier: locality.TierOut, Reason: locality.ReasonNoAddress},
				{Tier: locality.TierOther, Priority: 3, Weight: 1, Share: 1, In: true, Reason: locality.ReasonChosen},
			},
		},
		{
			name:       "unknown locality matches nothing",
			viewer:     locality.Viewer{},
			candidates: []locality.Candidate{candidate("", "", 1), candidate("east", "us-east1", 1)},
			want: []locality.Verdict{
				{Tier: locality.TierOther, Priority: 3, Weight: 1, Share: 0.5, In: true, Reason: locality.ReasonChosen},
				{Tier: locality.TierOther, Priority: 3, Weight: 1, Share: 0.5, In: true, Reason: locality.ReasonChosen},
			},
		},
		{name: "no candidate", viewer: viewer, want: []locality.Verdict{}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			plan := locality.Decide(tc.viewer, locality.Policy{}, tc.candidates)
			require.Equal(t, tc.want, plan.Verdicts)
			none := true
			for _, v := range tc.want {
				none = none && !v.In
			}
			require.Equal(t, none, plan.Empty())
			if none {
				require.Equal(t, -1, plan.Pick(1<<40))
			}
		})
	}
}

// Every candidate must get its share of 100,000 seeded picks within one point,
// and what is not in must get none.
func TestPickBalance(t *testing.T) {
	const picks = 100_000
	tests := [][]uint32{{1}, {1, 1}, {3, 2}, {1, 99}, {5, 0, 5}, {1, 2, 3, 4}, {0, 0, 7, 3}, {1000, 1, 1000}, {50, 40, 30, 20, 10, 5, 4, 3, 2, 1}}
	for _, ready := range tests {
		t.Run(fmt.Sprint(ready), func(t *testing.T) {
			var candidates []locality.Candidate
			var sum float64
			for i, n := range ready {
				candidates = append(candidates, candidate(fmt.Sprint("c", i), "us-east1", n))
				sum += float64(n)
			}
			plan := locality.Decide(viewer, locality.Policy{}, candidates)
			random := rand.New(rand.NewPCG(1, 2))
			got := make([]int, len(ready))
			for range picks {
				got[plan.Pick(random.Uint64())]++
			}
			for i, n := range ready {
				want := float64(n) / sum
				require.InDelta(t, want, float64(got[i])/picks, 0.01, "candidate %d", i)
				require.InDelta(t, want, plan.Verdicts[i].Share, 1e-12)
				if n == 0 {
					require.Zero(t, got[i])
				}
			}
		})
	}
}

func TestPickEdges(t *testing.T) {
	plan := locality.Decide(viewer, locality.Policy{}, []locality.Candidate{
		candidate("a", "", discovery.MaxCount), candidate("b", "", 0), candidate("c", "", discovery.MaxCount),
	})
	require.Equal(t, 0, plan.Pick(0))
	require.Equal(t, 0, plan.Pick(1<<63-1))
	require.Equal(t, 2, plan.Pick(1<<63))
	require.Equal(t, 2, plan.Pick(1<<64-1))
}

func TestPickAllocs(t *testing.T) {
	plan := locality.Decide(viewer, affine(t), many(300))
	var r uint64
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		r += 1 << 50
		plan.Pick(r)
		plan.PickFor(r)
	}))
	addr := netip.MustParseAddr("2001:db8::1")
	require.Zero(t, testing.AllocsPerRun(1000, func() { locality.ClientHash(addr) }))
}

func many(n int) []locality.Candidate {
	candidates := make([]locality.Candidate, n)
	for i := range candidates {
		candidates[i] = candidate(fmt.Sprint("c", i), "us-east1", uint32(i%7+1))
	}
	return candidates
}

func BenchmarkPick(b *testing.B)    { benchmarkChoice(b, (*locality.Plan).Pick) }
func BenchmarkPickFor(b *testing.B) { benchmarkChoice(b, (*locality.Plan).PickFor) }

func benchmarkChoice(b *testing.B, choose func(*locality.Plan, uint64) int) {
	for _, n := range []int{3, 30, 300} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			plan := locality.Decide(viewer, affine(b), many(n))
			var r uint64
			b.ReportAllocs()
			for b.Loop() {
				r += 0x9e3779b97f4a7c15 // steps through all of uint64 (Knuth's multiplicative constant)
				choose(plan, r)
			}
		})
	}
}

// all is a policy that has every kind of rule.
func all(t testing.TB) locality.Policy {
	return policyOf(t, locality.Rules{
		Order: locality.OrderLatency, Affinity: locality.AffinityClient, Failover: failover,
		Distribute: []locality.Distribute{{From: "*", To: map[string]uint32{"us-east1": 50, "us-east1/us-east1-b": 50}}},
	})
}

func BenchmarkDecide(b *testing.B) {
	for name, policy := range map[string]locality.Policy{"default": {}, "all": all(b)} {
		for _, n := range []int{3, 30, 300} {
			b.Run(fmt.Sprint(name, "/", n), func(b *testing.B) {
				candidates := many(n)
				b.ReportAllocs()
				for b.Loop() {
					locality.Decide(viewer, policy, candidates)
				}
			})
		}
	}
}
