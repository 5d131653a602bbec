package manifest_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
	"github.com/isthmus-dns/isthmus/discovery/manifest"
)

// TestGatewaySetOfAService: the set has the addresses that the Service's file
// says it has, and follows them.
func TestGatewaySetOfAService(t *testing.T) {
	dir := t.TempDir()
	source, err := manifest.New(manifest.Config{
		Dir:     dir,
		Cluster: func([]*corev1.Node) *discovery.Cluster { return &discovery.Cluster{Name: "west", UID: "u"} },
		Gateways: func() []export.SetEntry {
			return []export.SetEntry{{
				Set: "default", From: export.FromService, Object: export.Object{Namespace: "infra", Name: "edge"},
				Gateway: discovery.Gateway{Port: 443},
			}}
		},
	})
	require.NoError(t, err)
	got := make(chan discovery.Update, 16)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx, func(u discovery.Update) { got <- u }) }()
	t.Cleanup(func() { cancel(); <-ended })
	next := func() []discovery.Gateway {
		t.Helper()
		for {
			select {
			case u := <-got:
				if u.Cluster != nil {
					require.Len(t, u.Cluster.GatewaySets, 1)
					return u.Cluster.GatewaySets[0].Gateways
				}
			case <-time.After(patience):
				t.Fatal("no record of the cluster")
			}
		}
	}
	require.Empty(t, next(), "there is no such Service yet")
	file := filepath.Join(dir, "edge.yaml")
	for _, address := range []string{"203.0.113.1", "203.0.113.2"} {
		text := "apiVersion: v1\nkind: Service\nmetadata: {namespace: infra, name: edge}\nspec: {type: LoadBalancer, clusterIP: 10.96.0.9, ports: [{port: 443}]}\n" +
			"status: {loadBalancer: {ingress: [{ip: " + address + "}]}}\n"
		require.NoError(t, os.WriteFile(file+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(file+".new", file))
		g := next()
		require.Len(t, g, 1)
		require.Equal(t, address, g[0].Addresses[0].String())
		require.Equal(t, discovery.GatewayLoadBalancer, g[0].Kind)
	}
}
