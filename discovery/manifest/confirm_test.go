package manifest_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/manifest"
)

// TestConfirm: only what the files say now counts, and only if all of them can
// be read.
func TestConfirm(t *testing.T) {
	dir := t.TempDir()
	source, err := manifest.New(manifest.Config{
		Dir:     dir,
		Keep:    t.TempDir(),
		Cluster: func([]*corev1.Node) *discovery.Cluster { return &discovery.Cluster{Name: "west"} },
	})
	require.NoError(t, err)
	user, order := []discovery.Key{"user.production"}, []discovery.Key{"order.production"}
	require.NoError(t, source.Confirm(t.Context(), user, order))

	write(t, dir, "user.yaml", docs(serviceYAML("user"), sliceYAML("user", 1)))
	write(t, dir, "order.yaml", serviceYAML("order"))
	require.ErrorContains(t, source.Confirm(t.Context(), append(user, "other.production"), nil), "1 services, user.production for one")
	require.ErrorContains(t, source.Confirm(t.Context(), nil, user), "user.production")
	require.NoError(t, source.Confirm(t.Context(), nil, order), "it has no endpoints")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, source.Confirm(ctx, nil, order), context.Canceled)

	for what, text := range map[string]string{"broken": "{", "emptied": ""} {
		write(t, dir, "user.yaml", text)
		require.ErrorContains(t, source.Confirm(t.Context(), user, nil), "user.yaml", what)
	}
	require.NoError(t, os.Remove(filepath.Join(dir, "user.yaml")))
	require.NoError(t, source.Confirm(t.Context(), user, order))

	require.NoError(t, os.RemoveAll(dir))
	require.Error(t, source.Confirm(t.Context(), user, nil), "a folder that is lost says nothing")
}
