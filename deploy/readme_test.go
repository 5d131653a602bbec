package deploy_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
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
	require.Contains(t, all[4], "kubectl apply --server-side", "or an annotation has the keys as well")
	for _, command := range all {
		require.NotContains(t, command, "sed -i", "which is another command on a Mac")
	}
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
	for _, tt := range []struct{ command, cluster, address, peer string }{
		{all[3], "west", "203.0.113.7:7946", "198.51.100.7:7946"},
		{"CLUSTER=east ADDRESS=lb.example.net PEER=203.0.113.7", "east", "lb.example.net:7946", "203.0.113.7:7946"},
		{"CLUSTER=six ADDRESS=[2001:db8::7] PEER=[2001:db8::8]", "six", "[2001:db8::7]:7946", "[2001:db8::8]:7946"},
	} {
		t.Run(tt.cluster, func(t *testing.T) {
			cmd := exec.Command("sh", "-ec", tt.command+"\n"+all[5])
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			file := filepath.Join(dir, "overlays", tt.cluster, "watcher.yaml")
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			var config struct {
				Cluster string
				Gossip  struct {
					Advertise string
					Join      []string
				}
			}
			require.NoError(t, yaml.Unmarshal(text, &config))
			require.Equal(t, tt.cluster, config.Cluster)
			require.Equal(t, tt.address, config.Gossip.Advertise)
			require.Equal(t, []string{tt.peer}, config.Gossip.Join)
			out, err = exec.Command(binary, "check", "-c", file).CombinedOutput()
			require.Error(t, err)
			require.Len(t, strings.Split(strings.TrimSpace(string(out)), "\n"), 1, "only the certificates are not here: %s", out)
			require.Equal(t, string(text), configs(t, kustomize(t, filepath.Join(dir, "overlays", tt.cluster)))["watcher.yaml"])
		})
	}
}

// TestRootChangesByCommand types what README.md says of a new root: after each
// line, whoever has the Secrets of before and whoever has the new ones trust one
// another.
func TestRootChangesByCommand(t *testing.T) {
	binary := os.Getenv("ISTHMUS_BIN")
	if binary == "" {
		t.Skip("ISTHMUS_BIN names no isthmus program: `make e2e` builds it and sets the variable")
	}
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, part, found := strings.Cut(string(text), "\n**Root.**")
	require.True(t, found)
	part, _, found = strings.Cut(part, "\n**Seeds.**")
	require.True(t, found)
	lines := regexp.MustCompile(`(?m)^    (.*)$`).FindAllStringSubmatch(part, -1)
	require.Len(t, lines, 3)
	dir := t.TempDir()
	do := func(script string) string {
		t.Helper()
		cmd := exec.Command("sh", "-ec", script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+string(os.PathListSeparator)+os.Getenv("PATH"))
		out, err := cmd.Output()
		require.NoError(t, err, script)
		return string(out)
	}
	secrets := func(folder, cluster string) map[string]string {
		t.Helper()
		data := map[string]string{}
		for _, object := range decode(t, do("isthmus pki secrets --dir "+folder+" --cluster "+cluster)) {
			for _, name := range []string{"tls.crt", "ca.crt"} {
				value, _, err := unstructured.NestedString(object.Object, "data", name)
				require.NoError(t, err)
				raw, err := base64.StdEncoding.DecodeString(value)
				require.NoError(t, err)
				data[object.GetName()+" "+name] = string(raw)
			}
		}
		return data
	}
	trusts := func(mine, theirs map[string]string) {
		t.Helper()
		roots := x509.NewCertPool()
		require.True(t, roots.AppendCertsFromPEM([]byte(mine["isthmus-watcher-tls ca.crt"])))
		for _, name := range []string{"isthmus-watcher-tls", "isthmus-agent-tls"} {
			block, _ := pem.Decode([]byte(theirs[name+" tls.crt"]))
			require.NotNil(t, block)
			certificate, err := x509.ParseCertificate(block.Bytes)
			require.NoError(t, err)
			_, err = certificate.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			require.NoError(t, err, name)
		}
	}
	do("isthmus pki init --dir pki --clusterset prod; isthmus pki issue --dir pki --cluster west; isthmus pki issue --dir pki --cluster east")
	first := secrets("pki", "west")
	before := first
	for i, folder := range []string{"pki", "new", "new"} {
		do(lines[i][1])
		after := secrets(folder, "east")
		trusts(before, after)
		trusts(after, before)
		before = secrets(folder, "west")
	}
	require.Equal(t, 1, strings.Count(before["isthmus-watcher-tls ca.crt"], "BEGIN"))
	require.NotEqual(t, first["isthmus-watcher-tls ca.crt"], before["isthmus-watcher-tls ca.crt"], "the old root is gone")
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
