package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// commands are the numbered ones of README.md, for each cluster.
func commands(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "### In each cluster\n")
	require.True(t, found)
	part, _, found := strings.Cut(rest, "### The first curl\n")
	require.True(t, found)
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^\d+\. .*\n\n       (.*)\n`).FindAllStringSubmatch(part, -1) {
		all = append(all, m[1])
	}
	return all
}

// TestFewCommands: each cluster takes at most ten, the curl included, and the
// files that they name are there.
func TestFewCommands(t *testing.T) {
	all := commands(t)
	require.Len(t, all, 9)
	for _, command := range all {
		for _, m := range regexp.MustCompile(`(?:-f |\| )((?:base|stub|examples)/\S+)`).FindAllStringSubmatch(command, -1) {
			require.FileExists(t, m[1], command)
		}
	}
}

// TestOverlayByCommand types what README.md says and takes what comes of it.
func TestOverlayByCommand(t *testing.T) {
	binary := os.Getenv("ISTHMUS_BIN")
	if binary == "" {
		t.Skip("ISTHMUS_BIN names no isthmus program: `make e2e` builds it and sets the variable")
	}
	all := commands(t)
	dir := t.TempDir()
	for _, folder := range []string{"base", filepath.Join("overlays", "cluster")} {
		require.NoError(t, os.CopyFS(filepath.Join(dir, folder), os.DirFS(folder)))
	}
	cmd := exec.Command("sh", "-ec", all[3]+"\n"+all[5])
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	file := filepath.Join(dir, "overlays", "west", "watcher.yaml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, value := range []string{"cluster: west\n", "advertise: 203.0.113.7:7946 ", "join: [198.51.100.7:7946] "} {
		require.Contains(t, string(text), value)
	}
	out, err = exec.Command(binary, "check", "-c", file).CombinedOutput()
	require.Error(t, err)
	require.Len(t, strings.Split(strings.TrimSpace(string(out)), "\n"), 1, "only the certificates are not here: %s", out)
	require.Equal(t, string(text), configs(t, kustomize(t, filepath.Join(dir, "overlays", "west")))["watcher.yaml"])
}

// TestHelmByCommand: the values that README.md's command sets are taken.
func TestHelmByCommand(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	m := regexp.MustCompile(`(?m)^    helm install isthmus helm/isthmus .* --set (\S+)$`).FindSubmatch(text)
	require.NotNil(t, m)
	values := strings.NewReplacer("$CLUSTER", "west", "$ADDRESS", "192.0.2.1", "$PEER", "198.51.100.1").Replace(string(m[1]))
	out, err := helm(t, values)
	require.NoError(t, err, out)
	require.Contains(t, out, "image: registry.example.com/isthmus:v0.1.0\n")
	require.Contains(t, out, "advertise: 192.0.2.1:7946\n")
}
