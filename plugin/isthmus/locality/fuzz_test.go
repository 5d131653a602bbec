package locality_test

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// Whatever a caller brings, also what no table holds (clusters of one name,
// states that are none, localities without form), nothing panics, and answers
// are divided wholly.
func FuzzDecide(f *testing.F) {
	f.Add([]byte("west\x00us-west1/us-west1-a/"), "us-west1", "us-east1", "us-west1/*", "*", uint32(100), true)
	f.Add(make([]byte, 200), "", "", "", "", uint32(0), false)
	f.Add([]byte(strings.Repeat("\xff", 300)), "a", "b", "*", "a/b/c", uint32(1), true)
	f.Add([]byte{}, "", "", "*", strings.Repeat("\xff", 1000)+"*", uint32(1), true)
	f.Fuzz(func(t *testing.T, data []byte, from, to, pattern, other string, weight uint32, latency bool) {
		routing := locality.Routing{
			Rules: locality.Rules{
				Failover:   []locality.Failover{{From: from, To: []string{to}}},
				Distribute: []locality.Distribute{{From: pattern, To: map[string]uint32{other: weight, pattern: 100 - weight}}},
				Affinity:   locality.AffinityClient,
			},
			Services: []locality.Override{{Match: from + "/" + to}},
		}
		if latency {
			routing.Order = locality.OrderLatency
		}
		for _, wrong := range routing.Validate() {
			require.True(t, strings.HasPrefix(wrong.Path, "routing."))
			// A hostile text is shown up to four times, 80 octets of it, each
			// as four letters.
			require.Less(t, len(wrong.Error()), 2000)
		}
		var policy locality.Policy
		if policies, err := locality.Compile(routing); err == nil {
			policy = policies.For(discovery.Key(to + "." + from))
		}
		const size = 40
		var candidates []locality.Candidate
		alive := false
		for ; len(data) >= size; data = data[size:] {
			c := locality.Candidate{
				Cluster:  string(data[:1]),
				Locality: discovery.Locality{Region: string(data[1:3]), Zone: string(data[3:5]), Subzone: string(data[5:7])},
				Reach:    locality.Reach(data[7]), Gateway: locality.Gateway(data[8]), Freshness: locality.Freshness(data[9]),
				Band: locality.Band(data[10]), Drained: data[11] == 0,
				Ready: binary.LittleEndian.Uint32(data[12:]), Total: binary.LittleEndian.Uint32(data[16:]),
				Weight: binary.LittleEndian.Uint32(data[20:]), RTT: time.Duration(binary.LittleEndian.Uint64(data[24:])),
			}
			alive = alive || lives(c)
			candidates = append(candidates, c)
		}
		plan := locality.Decide(locality.Viewer{Cluster: from, Locality: discovery.Locality{Region: to, Zone: other}}, policy, candidates)
		require.Equal(t, alive, !plan.Empty())
		sum := 0.0
		for i, v := range plan.Verdicts {
			sum += v.Share
			require.Equal(t, v.In, v.Share > 0)
			require.NotEmpty(t, locality.Explain(candidates[i], v))
		}
		for _, r := range []uint64{0, uint64(weight) << 32, math.MaxUint64} {
			if i := plan.Pick(r); i >= 0 {
				require.True(t, plan.Verdicts[i].In)
			}
			if i := plan.PickFor(r); i >= 0 {
				require.True(t, plan.Verdicts[i].In)
			}
		}
		if alive {
			require.InDelta(t, 1, sum, 1e-9)
		}
	})
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"*", "a/b/*", "a//", "us-*", strings.Repeat("/", 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := locality.ParsePattern(s)
		if err != nil {
			return
		}
		// A pattern matches the place that it names.
		require.True(t, p.Match(discovery.Locality(p)))
		again, err := locality.ParsePattern(discovery.Locality(p).String() + "/*")
		if p.Subzone == "" && p.Region != "" {
			require.NoError(t, err)
			require.Equal(t, p, again, "with a wildcard at its end it is the same")
		}
	})
}
