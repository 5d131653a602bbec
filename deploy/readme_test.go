package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
		for _, m := range regexp.MustCompile(`(?:-f |\| |&& )((?:base|stub|examples)/\S+)`).FindAllStringSubmatch(command, -1) {
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
	m := regexp.MustCompile(`(?m)^    helm install isthmus helm/isthmus .* --set "(\S+)"$`).FindSubmatch(text)
	require.NotNil(t, m)
	values := strings.NewReplacer("$CLUSTER", "west", "$ADDRESS", "192.0.2.1", "$PEER", "198.51.100.1").Replace(string(m[1]))
	out, err := helm(t, values)
	require.NoError(t, err, out)
	require.Contains(t, out, "image: registry.example.com/isthmus:v0.1.0\n")
	require.Contains(t, out, "advertise: 192.0.2.1:7946\n")
}

// TestOverlaysStandUnderACluster: a copy of overlays/cluster takes each other
// one, or two of them, in the place of the base, and keeps its own
// configuration and image.
func TestOverlaysStandUnderACluster(t *testing.T) {
	dir := t.TempDir()
	for _, folder := range []string{"base", "overlays"} {
		require.NoError(t, os.CopyFS(filepath.Join(dir, folder), os.DirFS(folder)))
	}
	build := func(t *testing.T, name string) []*unstructured.Unstructured {
		t.Helper()
		objects := kustomize(t, filepath.Join(dir, "overlays", name))
		text, err := os.ReadFile(filepath.Join("overlays", "cluster", "watcher.yaml"))
		require.NoError(t, err)
		require.Equal(t, string(text), configs(t, objects)["watcher.yaml"])
		for _, object := range objects {
			if kind := object.GetKind(); kind == "Deployment" || kind == "DaemonSet" {
				require.Equal(t, "registry.example.com/isthmus:v0.1.0", pod(t, object).Spec.Containers[0].Image)
			}
		}
		return objects
	}
	under := func(t *testing.T, name, what string) {
		t.Helper()
		file := filepath.Join(dir, "overlays", name, "kustomization.yaml")
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		changed := regexp.MustCompile(`\.\./\.\./base|\.\./(minimal|cert-manager|istio|main-dns|monitoring)\b`).ReplaceAllString(string(text), "../"+what)
		require.Regexp(t, `(\[|- )\.\./`+what+`\b`, changed)
		require.NoError(t, os.WriteFile(file, []byte(changed), 0o600))
	}
	// The comment that tells of it names the folders, too.
	head := filepath.Join(dir, "overlays", "cluster", "kustomization.yaml")
	text, err := os.ReadFile(head)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(head, regexp.MustCompile(`(?m)^#.*\n`).ReplaceAll(text, nil), 0o600))

	plain := len(build(t, "cluster"))
	for name, more := range map[string]int{"minimal": 0, "cert-manager": 3, "istio": 0, "main-dns": 1, "monitoring": 3} {
		t.Run(name, func(t *testing.T) {
			under(t, "cluster", name)
			require.Len(t, build(t, "cluster"), plain+more)
		})
	}
	t.Run("istio on cert-manager", func(t *testing.T) {
		under(t, "cluster", "istio")
		under(t, "istio", "cert-manager")
		require.Len(t, build(t, "cluster"), plain+3)
	})
}
