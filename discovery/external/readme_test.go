package external_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/manifest"
)

// TestREADME: the manifest there is read without a mistake, and is a check.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(readme), "```yaml\n")
	require.True(t, found)
	text, _, _ := strings.Cut(rest, "```")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "billing.yaml"), []byte(text), 0o600))
	problems, err := manifest.Load(dir)
	require.NoError(t, err)
	require.Empty(t, problems)

	source, err := manifest.New(manifest.Config{Dir: dir, Cluster: func([]*corev1.Node) *discovery.Cluster { return nil }})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var first discovery.Update
	require.NoError(t, source.Run(ctx, func(u discovery.Update) {
		first = u
		cancel()
	}))
	require.Len(t, first.Services, 1)
	check := first.Checks["billing.production"]
	require.NotNil(t, check)
	require.Equal(t, "/healthz", check.Path)
	require.Len(t, check.Endpoints, 2)
	for _, e := range check.Endpoints {
		require.EqualValues(t, 8080, e.Port)
	}
}
