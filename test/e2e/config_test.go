package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-dns/isthmus/test/freeport"
)

// clustersetName is that of deploy/base.
const clustersetName = "prod"

var deploy = filepath.Join("..", "..", "deploy")

// base is a file of deploy/base.
func base(name string) string { return filepath.Join(deploy, "base", name) }

// writeWatcher writes deploy/base/watcher.yaml with other values for some
// fields.
func writeWatcher(t *testing.T, dir, name string, values map[string]any) string {
	t.Helper()
	text, err := os.ReadFile(base("watcher.yaml"))
	require.NoError(t, err)
	fields := map[string]any{}
	require.NoError(t, yaml.Unmarshal(text, &fields))
	maps.Copy(fields, values)
	text, err = yaml.Marshal(fields)
	require.NoError(t, err)
	file := filepath.Join(dir, name+".yaml")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	return file
}

// writeCorefile writes deploy/base/Corefile for an agent on loopback, and
// returns the file and the agent's address.
func writeCorefile(t *testing.T, dir, cluster, watchers string) (file, address string) {
	t.Helper()
	data, err := os.ReadFile(base("Corefile"))
	require.NoError(t, err)
	text := string(data)
	address = freeport.Addr(t)
	tls := tlsFiles(cluster, "agent")
	for from, to := range map[string]string{
		".:53 {":                            fmt.Sprintf(".:%s {\n    bind 127.0.0.1", address[strings.LastIndex(address, ":")+1:]),
		"ready :8181":                       "ready " + freeport.Addr(t),
		"health :8080":                      "health " + freeport.Addr(t),
		"lameduck 8s":                       "lameduck 1ms", // there is no kubelet whose Pods need it
		"prometheus :9153":                  "prometheus " + freeport.Addr(t),
		" isthmus-watcher.isthmus.svc:7946": watchers,
		"/etc/isthmus-tls/tls.crt":          filepath.Join(dir, tls["cert"]),
		"/etc/isthmus-tls/tls.key":          filepath.Join(dir, tls["key"]),
		"/etc/isthmus-tls/ca.crt":           filepath.Join(dir, tls["ca"]),
		"/var/lib/isthmus":                  filepath.Join(dir, cluster+"-snapshot"),
	} {
		require.Equal(t, 1, strings.Count(text, from), "%q in deploy/base/Corefile", from)
		text = strings.Replace(text, from, to, 1)
	}
	file = filepath.Join(dir, cluster+"-Corefile")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file, address
}

// kubeconfig writes one with a token of the watcher's account: what the
// kubelet mounts into the Pod.
func (s *site) kubeconfig(t *testing.T, dir string) string {
	t.Helper()
	return s.kube.WriteKubeconfig(filepath.Join(dir, s.name+"-kubeconfig"), s.kube.Token("isthmus", "isthmus-watcher"))
}

// check runs `isthmus check`.
func check(t *testing.T, args ...string) (output string, code int) {
	t.Helper()
	cmd := exec.Command(binary(t), append([]string{"check"}, args...)...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// TestBaseIsWellFormed reads deploy/base as it is, with the program it is for.
// The certificates' files are all that may be missing here.
func TestBaseIsWellFormed(t *testing.T) {
	for flag, file := range map[string]string{"-c": "watcher.yaml", "-conf": "Corefile"} {
		t.Run(file, func(t *testing.T) {
			out, code := check(t, flag, base(file))
			require.Equal(t, 2, code, out)
			lines := strings.Split(strings.TrimSpace(out), "\n")
			require.Len(t, lines, 1, out)
			require.Regexp(t, `/etc/isthmus-tls/tls\.crt.*(does not exist|no such file)`, out)
		})
	}
}

// TestBaseIsAcceptedWithFiles reads both again where the certificates are.
func TestBaseIsAcceptedWithFiles(t *testing.T) {
	dir := t.TempDir()
	writePKI(t, dir, "west")
	config := writeWatcher(t, dir, "watcher", map[string]any{"tls": tlsFiles("west", "watcher")})
	corefile, _ := writeCorefile(t, dir, "west", " isthmus-watcher.isthmus.svc:7946")
	out, code := check(t, "-c", config, "-conf", corefile)
	require.Zero(t, code, out)
	require.Equal(t, config+": ok\n"+corefile+": ok\n", out)
}
