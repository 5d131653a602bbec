package clusters

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// testUninstall: what the manual says takes everything away, from the first
// cluster; in the others the product goes on.
func testUninstall(t *testing.T, f *fleet) {
	if f.kept {
		t.Skip("the clusters are kept as they are")
	}
	lines := f.manual.commands(t, "## Uninstalling")
	require.Len(t, lines, 1)
	c := f.clusters[0]
	stub := f.steps.rest[len(f.steps.rest)-1]
	add := regexp.MustCompile(`corefile\.sh add "\$\([^)]*\)"`)
	require.Regexp(t, add, stub)
	require.NoError(t, f.types(c, add.ReplaceAllLiteralString(stub, "corefile.sh remove")))
	require.NoError(t, f.types(c, lines...))

	require.NotContains(t, c.kubectl(t, "-n kube-system get configmap coredns -o yaml"), "global:53")
	everything := c.kubectl(t, `get "$(kubectl api-resources --verbs=list -o name | paste -sd, -)" -A -o name`)
	require.Contains(t, everything, "configmap/coredns")
	for line := range strings.Lines(everything) {
		require.NotContains(t, line, "isthmus")
	}
}
