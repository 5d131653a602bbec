package locality_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// The tiers of the viewer in these tests.
var tierAt = []string{"us-west1/us-west1-a", "us-west1/us-west1-a", "us-west1/us-west1-b", "us-east1/us-east1-a"}

// member is a cluster in one of the tiers.
type member struct {
	tier, ready, total int
	weight             uint32
	down               bool
}

// levels are one cluster of 100 endpoints in each tier, of which some percent
// are ready.
func levels(percent ...int) []member {
	members := make([]member, len(percent))
	for i, p := range percent {
		members[i] = member{tier: i, ready: p, total: 100}
	}
	return members
}

func (m member) candidate(t *testing.T, i int) locality.Candidate {
	name := fmt.Sprint("c", i)
	if m.tier == 0 {
		name = viewer.Cluster
	}
	c := read(t, fmt.Sprintf("%s %s %d/%d weight=%d", name, tierAt[m.tier], m.ready, m.total, m.weight))
	if m.down {
		c.Gateway = locality.GatewayDown
	}
	return c
}

// reference is the pseudo code of Envoy's documentation ("Priority levels"),
// in fractions, and below it the division of a level by weight:
//
//	health(P_X) = min(100, 1.4 * 100 * healthy_P_X_backends / total_P_X_backends)
//	normalized_total_health = min(100, Σ(health(P_0)...health(P_X)))
//	priority_load(P_0) = min(100, health(P_0) * 100 / normalized_total_health)
//	priority_load(P_X) = min(100 - Σ(priority_load(P_0)..priority_load(P_X-1)),
//	                         health(P_X) * 100 / normalized_total_health)
func reference(members []member) []float64 {
	one := big.NewRat(1, 1)
	least := func(a, b *big.Rat) *big.Rat {
		if a.Cmp(b) < 0 {
			return a
		}
		return b
	}
	ready := func(m member) int64 {
		if m.down {
			return 0
		}
		return int64(m.ready)
	}
	var healths [4]*big.Rat
	sum := new(big.Rat)
	for p := range healths {
		var healthy, total int64
		for _, m := range members {
			if m.tier == p {
				healthy, total = healthy+ready(m), total+int64(max(m.total, m.ready))
			}
		}
		healths[p] = new(big.Rat)
		if total > 0 {
			healths[p] = least(one, big.NewRat(14*healthy, 10*total))
		}
		sum.Add(sum, healths[p])
	}
	normalized := least(one, sum)
	shares := make([]float64, len(members))
	if normalized.Sign() == 0 {
		return shares
	}
	left := big.NewRat(1, 1)
	for p := range healths {
		load := least(left, new(big.Rat).Quo(healths[p], normalized))
		left = new(big.Rat).Sub(left, load)
		var weights int64
		for _, m := range members {
			if m.tier == p {
				weights += ready(m) * int64(max(m.weight, 1))
			}
		}
		for i, m := range members {
			if m.tier == p && weights > 0 {
				part := big.NewRat(ready(m)*int64(max(m.weight, 1)), weights)
				shares[i], _ = part.Mul(part, load).Float64()
			}
		}
	}
	return shares
}

// Loads must be those of Envoy's algorithm: exactly those of its pseudo code,
// its documentation's tables within their rounding to whole percents, and so
// must seeded picks be, drawn or by client, within one point.
//
// The tables are those of "Priority levels" and, as far as that algorithm
// applies, of "Panic threshold"; two rows of the latter (50 % and 60 % giving
// 50:50, and 25 % and 100 % giving 25:75) contradict its own text and are left
// out.
func TestEnvoyPriorityLoad(t *testing.T) {
	tests := []struct {
		name    string
		members []member
		want    []float64 // percent of each member
		within  float64   // points; 0 for exact numbers
	}{
		// "Priority levels", two levels, P=1 100 % healthy.
		{"docs 100", levels(100, 100), []float64{100, 0}, 1},
		{"docs 72", levels(72, 100), []float64{100, 0}, 1},
		{"docs 71", levels(71, 100), []float64{99, 1}, 1},
		{"docs 50", levels(50, 100), []float64{70, 30}, 1},
		{"docs 25", levels(25, 100), []float64{35, 65}, 1},
		{"docs 0", levels(0, 100), []float64{0, 100}, 1},
		// "Priority levels", two levels.
		{"docs 72 72", levels(72, 72), []float64{100, 0}, 1},
		{"docs 71 71", levels(71, 71), []float64{99, 1}, 1},
		{"docs 50 50", levels(50, 50), []float64{70, 30}, 1},
		{"docs 25 25", levels(25, 25), []float64{50, 50}, 1},
		// "Priority levels", three levels.
		{"docs 100 100 100", levels(100, 100, 100), []float64{100, 0, 0}, 1},
		{"docs 72 72 100", levels(72, 72, 100), []float64{100, 0, 0}, 1},
		{"docs 71 71 100", levels(71, 71, 100), []float64{99, 1, 0}, 1},
		{"docs 50 50 100", levels(50, 50, 100), []float64{70, 30, 0}, 1},
		{"docs 25 100 100", levels(25, 100, 100), []float64{35, 65, 0}, 1},
		{"docs 25 25 100", levels(25, 25, 100), []float64{35, 35, 30}, 1},
		{"docs 25 25 20", levels(25, 25, 20), []float64{36, 36, 28}, 1},
		// The text of "Priority levels": healths of {20, 30} become {40, 60}.
		{"docs healths 20 30", []member{{tier: 0, ready: 1, total: 7}, {tier: 1, ready: 3, total: 14}}, []float64{40, 60}, 0},
		// "Panic threshold".
		{"docs panic 5 65", levels(5, 65), []float64{7, 93}, 1},

		// Ours: the same with what clusters do.
		{"all four tiers", levels(10, 20, 30, 100), []float64{14, 28, 42, 16}, 0},
		{"only the last has any", levels(0, 0, 0, 1), []float64{0, 0, 0, 100}, 0},
		{"nothing is ready", levels(0, 0, 0, 0), []float64{0, 0, 0, 0}, 0},
		{"exactly enough", []member{{tier: 0, ready: 5, total: 7}, {tier: 1, ready: 9, total: 9}}, []float64{100, 0}, 0},
		{"exactly enough in two tiers", []member{{tier: 0, ready: 1, total: 2}, {tier: 1, ready: 3, total: 14}, {tier: 3, ready: 1, total: 1}}, []float64{70, 30, 0}, 0},
		{"first local endpoint of one", []member{{tier: 0, ready: 1, total: 1}, {tier: 3, ready: 9, total: 9}}, []float64{100, 0}, 0},
		{"first local endpoint of ten", []member{{tier: 0, ready: 1, total: 10}, {tier: 3, ready: 9, total: 9}}, []float64{14, 86}, 0},
		{"second local endpoint of ten", []member{{tier: 0, ready: 2, total: 10}, {tier: 3, ready: 9, total: 9}}, []float64{28, 72}, 0},
		{"last local endpoint gone", []member{{tier: 0, ready: 0, total: 10}, {tier: 3, ready: 9, total: 9}}, []float64{0, 100}, 0},
		{"no local endpoint is wanted", []member{{tier: 0}, {tier: 3, ready: 9, total: 9}}, []float64{0, 100}, 0},
		{"two clusters in a tier", []member{{tier: 3, ready: 3, total: 3}, {tier: 3, ready: 1, total: 1}}, []float64{75, 25}, 0},
		{"weights in a tier", []member{{tier: 3, ready: 2, total: 2, weight: 3}, {tier: 3, ready: 2, total: 2, weight: 1}}, []float64{75, 25}, 0},
		{"weights don't change a tier's health", []member{{tier: 1, ready: 1, total: 2, weight: 9}, {tier: 1, ready: 0, total: 2}, {tier: 3, ready: 1, total: 1}}, []float64{35, 0, 65}, 0},
		{"one gateway of two down", []member{{tier: 1, ready: 5, total: 5}, {tier: 1, ready: 5, total: 5, down: true}, {tier: 3, ready: 5, total: 5}}, []float64{70, 0, 30}, 0},
		{"one gateway of four down", []member{{tier: 1, ready: 5, total: 5}, {tier: 1, ready: 5, total: 5}, {tier: 1, ready: 5, total: 5}, {tier: 1, ready: 5, total: 5, down: true}, {tier: 3, ready: 5, total: 5}}, []float64{100. / 3, 100. / 3, 100. / 3, 0, 0}, 0},
		{"a tier's gateways all down", []member{{tier: 1, ready: 5, total: 5, down: true}, {tier: 2, ready: 1, total: 4}, {tier: 3, ready: 5, total: 5}}, []float64{0, 35, 65}, 0},
		{"down and not enough elsewhere", []member{{tier: 1, ready: 5, total: 5, down: true}, {tier: 2, ready: 1, total: 10}, {tier: 3, ready: 1, total: 5}}, []float64{0, 100. / 3, 200. / 3}, 0},
		{"uneven tiers", []member{{tier: 0, ready: 1, total: 3}, {tier: 1, ready: 1, total: 4}, {tier: 1, ready: 2, total: 4}, {tier: 2, ready: 7, total: 9}}, []float64{1400. / 30, 17.5, 35, 100 - 1400./30 - 52.5}, 0},
		{"more are ready than there are", []member{{tier: 1, ready: 5}, {tier: 1, total: 5}, {tier: 3, ready: 1, total: 1}}, []float64{70, 0, 30}, 0},
		// The README's.
		{"readme 3 of 4", []member{{tier: 0, ready: 3, total: 4}, {tier: 1, ready: 3, total: 3}, {tier: 3, ready: 9, total: 9}}, []float64{100, 0, 0}, 0},
		{"readme 2 of 4", []member{{tier: 0, ready: 2, total: 4}, {tier: 1, ready: 3, total: 3}, {tier: 3, ready: 9, total: 9}}, []float64{70, 30, 0}, 0},
		{"readme 1 of 4", []member{{tier: 0, ready: 1, total: 4}, {tier: 1, ready: 1, total: 4}, {tier: 3, ready: 9, total: 9}}, []float64{35, 35, 30}, 0},
		{"readme not enough", []member{{tier: 0, ready: 1, total: 4}, {tier: 1, total: 3}, {tier: 3, ready: 1, total: 7}}, []float64{3500. / 55, 0, 2000. / 55}, 0},
		{"large counts", []member{{tier: 1, ready: 1 << 29, total: 1 << 30, weight: 1 << 20}, {tier: 1, ready: 1 << 29, total: 1 << 30, weight: 1 << 20}, {tier: 3, ready: 1 << 30, total: 1 << 30, weight: 1 << 20}}, []float64{35, 35, 30}, 0},
	}
	require.GreaterOrEqual(t, len(tests), 30)
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			candidates := make([]locality.Candidate, len(tc.members))
			for i, m := range tc.members {
				candidates[i] = m.candidate(t, i)
			}
			plan := locality.Decide(viewer, locality.Policy{}, candidates)
			exact := reference(tc.members)
			require.InDeltaSlice(t, exact, shares(plan), 1e-12)
			for i, want := range tc.want {
				require.InDelta(t, want, 100*plan.Verdicts[i].Share, max(tc.within, 1e-9), "candidate %d", i)
			}
			if plan.Empty() {
				require.Equal(t, -1, plan.Pick(0))
				return
			}
			balanced(t, exact, plan)
			balanced(t, exact, locality.Decide(viewer, policyOf(t, locality.Rules{Affinity: locality.AffinityClient}), candidates))
		})
	}
}

// balanced draws 100,000 times, by number or by client, and compares what each
// candidate got with its share.
func balanced(t *testing.T, want []float64, plan *locality.Plan) {
	t.Helper()
	const picks = 100_000
	random := rand.New(rand.NewPCG(1, 2))
	choose := plan.Pick
	if plan.Affine() {
		choose = plan.PickFor
	}
	got := make([]int, len(want))
	for range picks {
		got[choose(random.Uint64())]++
	}
	for i := range want {
		require.InDelta(t, want[i], float64(got[i])/picks, 0.01, "candidate %d, affine %v", i, plan.Affine())
		require.Equal(t, want[i] > 0, plan.Verdicts[i].In)
		if want[i] == 0 {
			require.Zero(t, got[i])
		}
	}
}

// The table of "Locality weighted load balancing": localities X and Y of
// weights 1 and 2, Y wholly healthy. Weights here are percent, so 33 and 67.
func TestEnvoyLocalityWeights(t *testing.T) {
	tests := []struct{ healthy, x, y int }{{100, 33, 67}, {70, 33, 67}, {69, 32, 68}, {50, 26, 74}, {25, 15, 85}, {0, 0, 100}}
	policy := policyOf(t, locality.Rules{Distribute: []locality.Distribute{{From: "*", To: map[string]uint32{"x/*": 33, "y/*": 67}}}})
	for _, tc := range tests {
		t.Run(fmt.Sprint(tc.healthy), func(t *testing.T) {
			plan := locality.Decide(viewer, policy, []locality.Candidate{
				read(t, fmt.Sprintf("a x %d/100", tc.healthy)), read(t, "b y/z 100/100"),
			})
			require.InDelta(t, tc.x, 100*plan.Verdicts[0].Share, 1)
			require.InDelta(t, tc.y, 100*plan.Verdicts[1].Share, 1)
			effective := 33 * min(1, 1.4*float64(tc.healthy)/100)
			exact := []float64{effective / (effective + 67), 67 / (effective + 67)}
			require.InDeltaSlice(t, exact, shares(plan), 1e-12)
			balanced(t, exact, plan)
		})
	}
}
