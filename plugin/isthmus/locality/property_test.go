package locality_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

var places = []string{"", "us-west1", "us-west1/us-west1-a", "us-west1/us-west1-a/r1", "us-west1/us-west1-b", "us-central1/us-central1-a", "us-east1/us-east1-b"}

func drawLocality(t *rapid.T, label string) discovery.Locality {
	l, err := discovery.ParseLocality(rapid.SampledFrom(places).Draw(t, label))
	require.NoError(t, err)
	return l
}

func drawPolicy(t *rapid.T) locality.Policy {
	rules := locality.Rules{
		Order:    rapid.SampledFrom([]locality.Order{"", locality.OrderLatency}).Draw(t, "order"),
		Affinity: rapid.SampledFrom([]locality.Affinity{"", locality.AffinityClient}).Draw(t, "affinity"),
	}
	if rapid.Bool().Draw(t, "failover") {
		rules.Failover = failover
	}
	rules.Distribute = rapid.SampledFrom([][]locality.Distribute{
		nil, eighty,
		{{From: "us-west1/us-west1-a", To: map[string]uint32{"us-west1/us-west1-b": 1, "us-central1": 50, "us-east1/us-east1-b/r9": 49}}},
		{{From: "*", To: map[string]uint32{"*": 1, "us-west1": 99}}},
	}).Draw(t, "distribute")
	p, err := locality.Compile(locality.Routing{Rules: rules})
	require.NoError(t, err)
	return p.For("any.service")
}

// drawCandidates draws clusters of different names; counts are often small and
// sometimes as large as they go.
func drawCandidates(t *rapid.T) []locality.Candidate {
	count := rapid.OneOf(rapid.Uint32Range(0, 5), rapid.Uint32Range(0, 1000), rapid.Uint32())
	candidates := make([]locality.Candidate, rapid.IntRange(0, 12).Draw(t, "n"))
	for i := range candidates {
		name := fmt.Sprint("c", i)
		if i == 0 {
			name = viewer.Cluster
		}
		candidates[i] = locality.Candidate{
			Cluster: name, Locality: drawLocality(t, "where"),
			Ready: count.Draw(t, "ready"), Total: count.Draw(t, "total"), Weight: count.Draw(t, "weight"),
			Reach:     rapid.SampledFrom([]locality.Reach{locality.ByGateway, locality.ByGateway, locality.ByEndpoint, locality.ByService, locality.NoGateway, locality.Unresolved, locality.NoHost, locality.Refused, 77}).Draw(t, "reach"),
			Gateway:   locality.Gateway(rapid.IntRange(0, 3).Draw(t, "gateway")),
			Freshness: locality.Freshness(rapid.IntRange(0, 3).Draw(t, "freshness")),
			RTT:       time.Duration(rapid.OneOf(rapid.Int64Range(0, 1e9), rapid.Int64()).Draw(t, "rtt")),
			Band:      locality.Band(rapid.Uint8Range(0, 12).Draw(t, "band")),
			Drained:   rapid.IntRange(0, 9).Draw(t, "drained") == 0,
		}
	}
	return candidates
}

func drawViewer(t *rapid.T) locality.Viewer {
	return locality.Viewer{Cluster: rapid.SampledFrom([]string{"", viewer.Cluster}).Draw(t, "cluster"), Locality: drawLocality(t, "viewer")}
}

// lives tells whether a candidate can be answered at all.
func lives(c locality.Candidate) bool { return c.Ready > 0 && c.Reach.OK() && !c.Drained }

// The laws of every plan.
func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, policy, candidates := drawViewer(t), drawPolicy(t), drawCandidates(t)
		plan := locality.Decide(from, policy, candidates)
		alive, healthy, fresh := false, false, false
		for _, c := range candidates {
			own := from.Cluster != "" && c.Cluster == from.Cluster
			up := c.Reach != locality.ByGateway || c.Gateway != locality.GatewayDown
			alive = alive || lives(c)
			healthy = healthy || lives(c) && up
			fresh = fresh || lives(c) && (c.Freshness != locality.Silent || own)
		}
		require.Equal(t, alive, !plan.Empty(), "an answer is never empty while any candidate may be alive")
		var sum float64
		for i, v := range plan.Verdicts {
			c := candidates[i]
			sum += v.Share
			require.Equal(t, v.In, v.Share > 0)
			require.True(t, !v.In || v.Tier != locality.TierOut)
			require.True(t, v.Share >= 0 && v.Share <= 1+1e-12)
			require.Equal(t, v.Tier == locality.TierOut, v.Weight == 0)
			require.True(t, v.Priority >= 0 && v.Priority < locality.MaxPriorities)
			require.True(t, v.Tier >= locality.TierOut && int(v.Tier) < locality.Tiers)
			require.Equal(t, v.Tier == locality.TierOut, v.Tier.String() == "out")
			require.NotContains(t, []locality.Reason{locality.ReasonNone, locality.Reasons}, v.Reason)
			require.NotEmpty(t, locality.Explain(c, v))
			if !lives(c) {
				require.Equal(t, locality.TierOut, v.Tier)
			}
			if down := c.Reach == locality.ByGateway && c.Gateway == locality.GatewayDown; down && healthy {
				require.Equal(t, locality.TierOut, v.Tier, "down is out while anything else is left")
			} else if down && fresh && c.Freshness == locality.Silent && c.Cluster != from.Cluster {
				require.Equal(t, locality.TierOut, v.Tier, "silent and down is the last resort")
			} else if lives(c) && !down {
				require.NotEqual(t, locality.TierOut, v.Tier, "unknown is not down")
			}
		}
		if alive {
			require.InDelta(t, 1, sum, 1e-9)
			for _, r := range []uint64{0, 1, 1 << 63, math.MaxUint64, rapid.Uint64().Draw(t, "r")} {
				require.True(t, plan.Verdicts[plan.Pick(r)].In)
				require.True(t, plan.Verdicts[plan.PickFor(r)].In)
			}
			picksMatchShares(t, plan)
		}
		require.Equal(t, plan, locality.Decide(from, policy, candidates), "it is deterministic")
	})
}

// picksMatchShares picks by evenly spaced numbers: what a candidate gets of them
// differs from its share only at the two ends of its part.
func picksMatchShares(t require.TestingT, plan *locality.Plan) {
	const picks = 1 << 10
	got := make([]float64, len(plan.Verdicts))
	for i := range uint64(picks) {
		got[plan.Pick(i*(1<<64/picks))]++
	}
	for i, v := range plan.Verdicts {
		require.InDelta(t, v.Share*picks, got[i], 1+1e-6)
	}
}

// The order of candidates decides nothing but the order of verdicts.
func TestOrderDecidesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, policy, candidates := drawViewer(t), drawPolicy(t), drawCandidates(t)
		order := rapid.Permutation(indexes(len(candidates))).Draw(t, "order")
		moved := make([]locality.Candidate, len(candidates))
		for i, at := range order {
			moved[i] = candidates[at]
		}
		a, b := locality.Decide(from, policy, candidates), locality.Decide(from, policy, moved)
		for i, at := range order {
			require.Equal(t, a.Verdicts[at], b.Verdicts[i])
		}
		if !a.Empty() {
			r := rapid.Uint64().Draw(t, "r")
			require.Equal(t, a.Pick(r), order[b.Pick(r)])
			require.Equal(t, a.PickFor(r), order[b.PickFor(r)])
		}
	})
}

// More ready endpoints never mean fewer answers, nor does a gateway that comes
// up.
func TestMonotony(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, policy, candidates := drawViewer(t), drawPolicy(t), drawCandidates(t)
		if len(candidates) == 0 {
			return
		}
		i := rapid.IntRange(0, len(candidates)-1).Draw(t, "which")
		c := &candidates[i]
		c.Total = max(c.Total, c.Ready)
		before := locality.Decide(from, policy, candidates).Verdicts[i].Share
		if rapid.Bool().Draw(t, "endpoints") {
			c.Ready = rapid.Uint32Range(c.Ready, c.Total).Draw(t, "more")
		} else if c.Gateway == locality.GatewayDown {
			c.Gateway = locality.GatewayUp
		}
		require.GreaterOrEqual(t, locality.Decide(from, policy, candidates).Verdicts[i].Share, before*(1-1e-9))
	})
}

// Counts that are all k times as large, or weights, give the same shares.
func TestScaleInvariance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, policy, candidates := drawViewer(t), drawPolicy(t), drawCandidates(t)
		k := rapid.Uint32Range(1, 1000).Draw(t, "k")
		for i := range candidates {
			candidates[i].Ready %= 10_000
			candidates[i].Total %= 10_000
			candidates[i].Weight = candidates[i].Weight%1000 + 1
		}
		want := shares(locality.Decide(from, policy, candidates))
		counts, weights := make([]locality.Candidate, len(candidates)), make([]locality.Candidate, len(candidates))
		for i, c := range candidates {
			counts[i], weights[i] = c, c
			counts[i].Ready, counts[i].Total = c.Ready*k, c.Total*k
			weights[i].Weight *= k
		}
		require.InDeltaSlice(t, want, shares(locality.Decide(from, policy, counts)), 1e-9)
		require.InDeltaSlice(t, want, shares(locality.Decide(from, policy, weights)), 1e-9)
	})
}

// Endpoints that come and go one by one move load in steps of their part, and
// no answer is ever empty.
func TestStepByStep(t *testing.T) {
	const total = 20
	candidates := readAll(t, "west us-west1/us-west1-a 0/20\neast us-east1 3/3\ncentral us-central1 1/1")
	last := 0.0
	for ready := range uint32(total + 1) {
		candidates[0].Ready = ready
		plan := locality.Decide(viewer, locality.Policy{}, candidates)
		own := plan.Verdicts[0].Share
		require.InDelta(t, min(1, 1.4*float64(ready)/total), own, 1e-12)
		require.LessOrEqual(t, own-last, 1.4/total+1e-12)
		require.False(t, plan.Empty())
		require.InDelta(t, 3*plan.Verdicts[2].Share, plan.Verdicts[1].Share, 1e-12, "the others keep their proportion")
		last = own
	}
}

// 1,000 clusters at the model's limits.
func TestNoOverflow(t *testing.T) {
	candidates := make([]locality.Candidate, 1000)
	for i := range candidates {
		candidates[i] = read(t, fmt.Sprintf("c%d us-east1 %d/%d weight=%d", i, discovery.MaxCount, discovery.MaxCount, discovery.MaxWeight))
	}
	plan := locality.Decide(viewer, affine(t), candidates)
	for _, v := range plan.Verdicts {
		require.InDelta(t, 0.001, v.Share, 1e-12)
		require.Equal(t, uint64(discovery.MaxCount)*discovery.MaxWeight, v.Weight)
	}
	for i := range candidates {
		candidates[i].Ready, candidates[i].Total, candidates[i].Weight = math.MaxUint32, math.MaxUint32, math.MaxUint32
	}
	for _, policy := range []locality.Policy{{}, policyOf(t, locality.Rules{Distribute: []locality.Distribute{{From: "*", To: map[string]uint32{"*": 100}}}})} {
		for _, v := range locality.Decide(viewer, policy, candidates).Verdicts {
			require.InDelta(t, 0.001, v.Share, 1e-12)
		}
	}
}
