package sim_test

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/sim"
)

var (
	flagSeed     = flag.Uint64("sim.seed", 1, "seed of all random choices of the network and the load")
	flagClusters = flag.String("sim.clusters", "", "run these numbers of clusters, with commas")
	flagLoss     = flag.String("sim.loss", "0", "at these losses, in percent")
	flagServices = flag.Int("sim.services", 1000, "with so many services a cluster")
	flagDuring   = flag.Duration("sim.during", time.Minute, "measure so long")
)

func play(t *testing.T, c sim.Scenario) *sim.Result {
	var r *sim.Result
	begun := time.Now()
	synctest.Test(t, func(t *testing.T) {
		var err error
		r, err = c.Run()
		require.NoError(t, err)
	})
	r.Real = time.Since(begun)
	return r
}

func link(percent float64) sim.Link {
	return sim.Link{Delay: 100 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: percent / 100}
}

// TestTable runs what the flags say: go test ./test/sim -run Table -sim.clusters 10,100 -v
func TestTable(t *testing.T) {
	if *flagClusters == "" {
		t.Skip("-sim.clusters is not given")
	}
	var results []*sim.Result
	for _, clusters := range strings.Split(*flagClusters, ",") {
		n, err := strconv.Atoi(clusters)
		require.NoError(t, err)
		for _, loss := range strings.Split(*flagLoss, ",") {
			percent, err := strconv.ParseFloat(loss, 64)
			require.NoError(t, err)
			t.Run(fmt.Sprintf("%d clusters %s%%", n, loss), func(t *testing.T) {
				r := play(t, sim.Scenario{Clusters: n, Services: *flagServices, Link: link(percent), Seed: *flagSeed, During: *flagDuring})
				t.Log("real time", r.Real)
				results = append(results, r)
			})
		}
	}
	sim.WriteTable(os.Stdout, results)
}
