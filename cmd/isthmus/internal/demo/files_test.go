package demo

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/config"
	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/dns"
	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/watch"
	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
	"github.com/isthmus-dns/isthmus/discovery/manifest"
)

func TestFilesAreSound(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, prepare(dir))
	t.Chdir(dir)
	for _, c := range clusters {
		conf, err := config.Load(configFile(".", c))
		require.NoError(t, err)
		require.Equal(t, c.name, conf.Cluster)
		require.NoError(t, watch.Check(conf))
	}
	remarks, err := dns.Check("Corefile")
	require.NoError(t, err)
	require.Empty(t, remarks)
}

func TestWhatIsThereStays(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, prepare(dir))
	changed, removed := filepath.Join(dir, "east", "payment-service.yaml"), filepath.Join(dir, "west", "orders.yaml")
	require.NoError(t, os.WriteFile(changed, []byte("# mine\n"), 0o600))
	require.NoError(t, os.Remove(removed))
	root, err := os.ReadFile(filepath.Join(dir, "pki", "ca.crt"))
	require.NoError(t, err)
	require.NoError(t, prepare(dir))
	text, err := os.ReadFile(changed)
	require.NoError(t, err)
	require.Equal(t, "# mine\n", string(text))
	require.NoFileExists(t, removed)
	again, err := os.ReadFile(filepath.Join(dir, "pki", "ca.crt"))
	require.NoError(t, err)
	require.Equal(t, root, again)
}

// part is what a cluster's manifests say, as its watcher would publish it.
func part(t *testing.T, dir string) discovery.Update {
	t.Helper()
	s, err := manifest.New(manifest.Config{
		Dir: dir, Options: export.Options{AllowLoopback: true},
		Cluster: func(nodes []*corev1.Node) *discovery.Cluster {
			return &discovery.Cluster{Locality: export.ClusterLocality(nodes)}
		},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var whole discovery.Update
	require.NoError(t, s.Run(ctx, func(u discovery.Update) {
		whole = u
		cancel()
	}))
	require.True(t, whole.Whole)
	return whole
}

// TestEveryAnswerHasAServer: a curl to whatever DNS answers must work.
func TestEveryAnswerHasAServer(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, prepare(dir))
	services := map[string][]string{}
	localities := map[string]string{}
	for _, c := range clusters {
		u := part(t, filepath.Join(dir, c.name))
		localities[c.name] = u.Cluster.Locality.String()
		for _, s := range u.Services {
			services[string(s.Key())] = append(services[string(s.Key())], c.name)
			for _, p := range s.Ports {
				require.Equal(t, uint16(8080), p.Port)
			}
			for _, a := range s.ClusterIPs {
				require.Contains(t, c.addresses(), a.String()+":8080")
			}
			for _, e := range s.Endpoints {
				require.Contains(t, c.addresses(), e.Addr.String()+":8080")
			}
			for _, g := range s.Gateways {
				require.Equal(t, discovery.GatewayNodePort, g.Kind)
				require.Contains(t, c.addresses(), g.Addresses[0].String()+":30880")
				require.Equal(t, uint16(30880), s.Ports[0].Gateway)
			}
		}
		require.Contains(t, c.addresses(), c.gateway()+":8080")
	}
	require.Equal(t, map[string][]string{
		"user-service.production":     {"west", "central", "east"},
		"payment-service.production":  {"central", "east"},
		"apollo-configservice.apollo": {"east"},
		"orders.production":           {"west"},
	}, services)
	require.Equal(t, map[string]string{
		"west": "us-west1/us-west1-a", "central": "us-central1/us-central1-a", "east": "us-east1/us-east1-b",
	}, localities)
}

func TestAddressesAreEachClustersOwn(t *testing.T) {
	seen := map[string]string{}
	for _, c := range clusters {
		addresses := c.addresses()
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(addresses))), len(addresses))
		for _, a := range addresses {
			require.Empty(t, seen[a])
			seen[a] = c.name
		}
	}
}
