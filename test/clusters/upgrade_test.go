package clusters

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// upgradeFromEnv is the commit that is upgraded from; the one before this one.
const upgradeFromEnv = "ISTHMUS_UPGRADE_FROM"

const earlierImage = "rig.local/isthmus:0"

// earlier installs the program and the manifests of an earlier commit over
// those that are there, in all clusters.
func earlier(t *testing.T, f *fleet) {
	t.Helper()
	commit := os.Getenv(upgradeFromEnv)
	if commit == "" {
		commit = "HEAD^"
	}
	dir := filepath.Join(f.dir, "earlier")
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.MkdirAll(dir, 0o755))
	do := func(line string) {
		t.Helper()
		cmd := exec.Command("sh", "-ec", line)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "DIR="+dir, "COMMIT="+commit)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s\n%s", line, out)
	}
	if exec.Command("git", "rev-parse", "--verify", "--quiet", commit+"^{commit}").Run() != nil {
		t.Skipf("no commit %s here: set %s, or clone with history", commit, upgradeFromEnv)
	}
	do(`git -C "$(git rev-parse --show-toplevel)" archive "$COMMIT" >"$DIR/all.tar" && tar -xf "$DIR/all.tar" -C "$DIR" && rm "$DIR/all.tar"`)
	do(`cd "$DIR" && go build -trimpath -ldflags '-s -w' -o isthmus ./cmd/isthmus`)
	archive := filepath.Join(dir, "image.tar")
	f.rig.must(t, "image", "-user", "65532", earlierImage, archive, filepath.Join(dir, "isthmus")+":/isthmus")
	f.rig.must(t, "load", archive)

	base, err := os.ReadFile(filepath.Join(dir, "deploy", "base", "kustomization.yaml"))
	require.NoError(t, err)
	name := regexp.MustCompile(`- name: (\S+)\n\s+namespace: isthmus\n\s+files: \[watcher\.yaml\]`).FindSubmatch(base)
	require.NotNil(t, name, "no ConfigMap of watcher.yaml in the base of %s", commit)
	for _, c := range f.clusters {
		settings, err := os.ReadFile(filepath.Join(f.dir, "deploy", "overlays", c.name, "watcher.yaml"))
		require.NoError(t, err)
		// The form that all versions have.
		text := replace(t, string(settings), "service: demo/gateway", "addresses: ["+c.balanced(t, "demo", "gateway")+"]")
		overlay := filepath.Join(dir, "deploy", c.name)
		require.NoError(t, os.Mkdir(overlay, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(overlay, "watcher.yaml"), []byte(text), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), fmt.Appendf(nil, `
resources: [../base]
configMapGenerator:
  - {name: %s, namespace: isthmus, behavior: replace, files: [watcher.yaml]}
images:
  - {name: isthmus, newName: rig.local/isthmus, newTag: "0"}
`, name[1]), 0o600))
		c.kubectl(t, "apply -k "+overlay)
	}
	f.rolledOut(t)
}

// upgraded: from an earlier commit's manifests to these.
func upgraded(t *testing.T, f *fleet, m *measure) {
	each(t, f.clusters, func(c *cluster) error { return f.types(c, "kubectl apply -k overlays/$CLUSTER") })
	f.rolledOut(t)
	m.changeAll(t, f)
}
