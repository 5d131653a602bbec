package locality_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	failover = []locality.Failover{{From: "us-west1", To: []string{"us-central1", "us-east1"}}}
	eighty   = []locality.Distribute{{From: "us-west1/*", To: map[string]uint32{"us-west1/*": 80, "us-central1/*": 20}}}
	latency  = locality.Rules{Order: locality.OrderLatency}
)

// Each decision of a file is told in the words that people get, so that a
// change of any rule or word is seen in the review of these files.
func TestExplain(t *testing.T) {
	type decision struct {
		name       string
		rules      locality.Rules
		candidates string
	}
	tests := []struct {
		file      string
		viewer    locality.Viewer // the usual one if empty
		decisions []decision
	}{
		{file: "tiers", decisions: []decision{
			{name: "by default", candidates: `
				west us-west1/us-west1-a 2/2
				zone us-west1/us-west1-a 2/2
				region us-west1/us-west1-b 2/2
				central us-central1/us-central1-a 2/2
				nowhere - 2/2`},
			{name: "nothing in the own cluster, the zone and the region", candidates: `
				west us-west1/us-west1-a 0/2
				zone us-west1/us-west1-a 0/2
				region us-west1/us-west1-b 2/2 no-gateway
				central us-central1/us-central1-a 3/3
				east us-east1/us-east1-b 1/1`},
			{name: "failover regions in order", rules: locality.Rules{Failover: failover}, candidates: `
				east us-east1/us-east1-b 2/2
				central us-central1/us-central1-a 1/2
				tokyo asia-northeast1/asia-northeast1-a 9/9`},
			{name: "what can't be reached", candidates: `
				a us-west1 0/3
				b us-west1 3/3 no-gateway
				c us-west1 3/3 no-address
				d us-west1 3/3 unresolved
				e us-west1 3/3 refused
				h us-west1 3/3 no-host
				f us-west1 3/3 drained
				g us-west1 3/3`},
			{name: "what if zone were drained: its endpoints are not missed", candidates: `
				zone us-west1/us-west1-a 2/2 drained
				peer us-west1/us-west1-a 2/2
				central us-central1/us-central1-a 2/2`},
		}},
		{
			file: "subzone", viewer: locality.Viewer{Cluster: "west", Locality: discovery.Locality{Region: "us-west1", Zone: "us-west1-a", Subzone: "rack-1"}},
			decisions: []decision{{name: "the own rack, another one, one that doesn't say, another zone", candidates: `
				rack us-west1/us-west1-a/rack-1 1/2
				other us-west1/us-west1-a/rack-2 1/4
				unsaid us-west1/us-west1-a 0/4
				region us-west1/us-west1-b/rack-1 4/4`}},
		},
		{file: "spill", decisions: []decision{
			{name: "no local endpoint", candidates: "west us-west1/us-west1-a 0/4\neast us-east1/us-east1-b 3/3\ncentral us-central1/us-central1-a 1/1"},
			{name: "the first local endpoint", candidates: "west us-west1/us-west1-a 1/4\neast us-east1/us-east1-b 3/3\ncentral us-central1/us-central1-a 1/1"},
			{name: "enough local endpoints", candidates: "west us-west1/us-west1-a 3/4\neast us-east1/us-east1-b 3/3\ncentral us-central1/us-central1-a 1/1"},
			{name: "a cluster that nothing leads to is not missed", candidates: `
				next us-west1/us-west1-b 2/2
				island us-west1/us-west1-b 6/6 no-gateway
				liar us-west1/us-west1-b 6/6 refused
				gone us-west1/us-west1-b 6/6 no-host
				six us-west1/us-west1-b 6/6 no-address
				east us-east1/us-east1-b 3/3`},
			{name: "one that waits for its host name or has nothing ready is", candidates: `
				next us-west1/us-west1-b 2/2
				lb us-west1/us-west1-b 1/1 unresolved
				idle us-west1/us-west1-b 0/1 no-address
				east us-east1/us-east1-b 3/3`},
			{name: "not enough anywhere", candidates: "west us-west1/us-west1-a 1/4\neast us-east1/us-east1-b 1/7\ncentral us-central1/us-central1-a 0/3"},
		}},
		{file: "distribute", decisions: []decision{
			{name: "80/20", rules: locality.Rules{Distribute: eighty, Failover: failover}, candidates: `
				west us-west1/us-west1-a 1/1
				next us-west1/us-west1-b 3/3
				central us-central1/us-central1-a 9/9
				east us-east1/us-east1-b 9/9`},
			{name: "a pattern at half its health", rules: locality.Rules{Distribute: eighty, Failover: failover}, candidates: `
				west us-west1/us-west1-a 2/4
				central us-central1/us-central1-a 9/9
				east us-east1/us-east1-b 9/9`},
			{name: "a pattern without candidates", rules: locality.Rules{Distribute: eighty, Failover: failover}, candidates: `
				west us-west1/us-west1-a 0/1
				next us-west1/us-west1-b 3/3 down
				central us-central1/us-central1-a 9/9
				east us-east1/us-east1-b 9/9`},
			{name: "no pattern with candidates: failover", rules: locality.Rules{Distribute: eighty, Failover: failover}, candidates: `
				west us-west1/us-west1-a 0/1
				central us-central1/us-central1-a 9/9 down
				east us-east1/us-east1-b 1/2
				tokyo asia-northeast1/asia-northeast1-a 9/9`},
			{name: "nothing but what is down: by the patterns", rules: locality.Rules{Distribute: eighty, Failover: failover}, candidates: `
				west us-west1/us-west1-a 0/1
				next us-west1/us-west1-b 3/3 down
				central us-central1/us-central1-a 9/9 down
				east us-east1/us-east1-b 1/2 down`},
			{name: "silent ones in a pattern", rules: locality.Rules{Distribute: eighty}, candidates: `
				west us-west1/us-west1-a 1/4
				next us-west1/us-west1-b 3/3 silent
				central us-central1/us-central1-a 9/9 silent`},
			{name: "the own cluster is never silent to itself", rules: locality.Rules{Distribute: eighty}, candidates: `
				west us-west1/us-west1-a 4/4 silent
				next us-west1/us-west1-b 4/4
				central us-central1/us-central1-a 9/9`},
		}},
		{file: "facts", decisions: []decision{
			{name: "unknown is not down", candidates: `
				up us-west1/us-west1-a 2/2 up
				unknown us-west1/us-west1-a 2/2
				down us-west1/us-west1-a 2/2 down`},
			{name: "all gateways down: panic, the nearest first", candidates: `
				central us-central1/us-central1-a 2/2 down
				next us-west1/us-west1-b 2/2 down
				quiet us-west1/us-west1-a 2/2 down silent`},
			{name: "all down and silent: the last resort", candidates: `
				west us-west1/us-west1-a 0/2
				central us-central1/us-central1-a 2/2 down silent
				next us-west1/us-west1-b 1/2 down silent`},
			{name: "silent goes one tier lower", candidates: `
				zone us-west1/us-west1-a 3/3 up silent
				region us-west1/us-west1-b 1/1 up
				far us-east1/us-east1-b 2/2 up silent
				near us-central1/us-central1-a 2/2 up`},
			{name: "the far silent one is the only one", candidates: `
				west us-west1/us-west1-a 0/2
				far us-east1/us-east1-b 2/2 up silent`},
			{name: "we are cut off: frozen ones stay", candidates: `
				zone us-west1/us-west1-a 3/3 up frozen
				region us-west1/us-west1-b 1/1 down frozen
				far us-east1/us-east1-b 2/2 up silent`},
			{name: "a shared network needs no gateway, the own cluster no news", candidates: `
				west us-west1/us-west1-a 1/4 down silent
				peer us-west1/us-west1-b 2/2 endpoint down`},
		}},
		{file: "latency", decisions: []decision{
			{name: "5, 40 and 120 ms", rules: latency, candidates: `
				far us-west1/us-west1-a 2/2 rtt=120ms
				near us-east1/us-east1-b 1/2 rtt=5ms
				middle us-central1/us-central1-a 1/4 rtt=40ms`},
			{name: "the own cluster first", rules: latency, candidates: `
				west us-west1/us-west1-a 1/2 rtt=300ms
				near us-east1/us-east1-b 2/2 rtt=700us
				last us-east1/us-east1-b 2/2 rtt=2s`},
			{name: "a band is kept", rules: latency, candidates: `
				kept us-east1/us-east1-b 2/2 rtt=44ms band=8
				new us-east1/us-east1-b 2/2 rtt=44ms
				left us-east1/us-east1-b 2/2 rtt=42ms band=8`},
			{name: "not all are measured", rules: locality.Rules{Order: locality.OrderLatency, Failover: failover}, candidates: `
				zone us-west1/us-west1-a 1/4
				region us-west1/us-west1-b 1/4
				measured us-west1/us-west1-b 1/4 rtt=30ms
				central us-central1/us-central1-a 1/4
				tokyo asia-northeast1/asia-northeast1-a 1/4
				slow us-central1/us-central1-a 1/4 rtt=900ms silent`},
		}},
	}
	for _, tc := range tests {
		t.Run(tc.file, func(t *testing.T) {
			from := tc.viewer
			if from.Cluster == "" {
				from = viewer
			}
			var b strings.Builder
			for _, d := range tc.decisions {
				candidates := readAll(t, d.candidates)
				plan := locality.Decide(from, policyOf(t, d.rules), candidates)
				picksMatchShares(t, plan)
				fmt.Fprintf(&b, "# %s\n", d.name)
				for i, c := range candidates {
					fmt.Fprintln(&b, locality.Explain(c, plan.Verdicts[i]))
				}
				fmt.Fprintln(&b)
			}
			golden := filepath.Join("testdata", "explain", tc.file+".txt")
			if *update {
				require.NoError(t, os.MkdirAll(filepath.Dir(golden), 0o755))
				require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), b.String())
		})
	}
}
