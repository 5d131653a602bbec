package process

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

// TestImport: what a watcher's configuration accepts is what its agents answer,
// and other clusters are not concerned.
func TestImport(t *testing.T) {
	s := cluster.New(t, "west", "east", "south")
	west, east, south := s.Clusters[0], s.Clusters[1], s.Clusters[2]
	east.Export(eastOnly)
	east.Export(cluster.Service{Namespace: "secret", Name: "vault", Ready: 1})
	south.Export(everywhere)
	configure(t, west, `import:
  clusters: {deny: ["sou*"]}
  rules:
    - {clusters: [east], namespaces: [shop, cluster-test], services: 10}
`)
	for _, c := range s.Clusters {
		c.Watcher.Start()
		c.Agent.Start()
	}
	west.Sees(west, east)
	east.Sees(west, east, south)
	west.Answers("stock.shop.global.", "A", east.Gateway)
	west.Answers("vault.secret.global.", "A", "NXDOMAIN")
	west.Answers("user.shop.global.", "A", "NXDOMAIN")
	east.Answers("vault.secret.global.", "A", east.ClusterIP("vault"))
	east.Answers("user.shop.global.", "A", south.Gateway)
	south.Answers("vault.secret.global.", "A", east.Gateway)
	west.Reaches(2, "isthmus_table_clusters")
	west.Reaches(1, "isthmus_replica_refused_total", "reason", "namespace")
	west.Watcher.Logged("cluster is not imported", "south")

	west.Watcher.Stop()
	configure(t, west, "import: {clusters: {allow: [south]}}\n")
	west.Watcher.Start()
	west.Answers("user.shop.global.", "A", south.Gateway)
	west.Answers("stock.shop.global.", "A", "NXDOMAIN")
}

// configure replaces what was configured before, at the end of the file.
func configure(t *testing.T, c *cluster.Cluster, text string) {
	t.Helper()
	file, err := os.ReadFile(c.ConfigFile())
	require.NoError(t, err)
	before, _, _ := strings.Cut(string(file), "import:")
	require.NoError(t, cluster.Replace(c.ConfigFile(), before+text))
}
