package deploy_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/isthmus-dns/isthmus/test/kubetest"
)

// toolsEnv names the folder of helm, kustomize and CRDs.
const toolsEnv = "ISTHMUS_DEPLOY_TOOLS"

// tool is the path of a file that `make deploy-tools` made.
func tool(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv(toolsEnv)
	if dir == "" {
		t.Skip(toolsEnv + " names no folder with helm, kustomize and CRDs: `make deploy-tools` makes it, `make e2e` sets the variable")
	}
	return filepath.Join(dir, name)
}

// run gives what a program printed; its complaints are in the error.
func run(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	if err != nil {
		return complaints.String(), err
	}
	return out.String(), nil
}

func decode(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	objects, err := kubetest.Decode([]byte(text))
	require.NoError(t, err)
	require.NotEmpty(t, objects)
	return objects
}

// kustomize builds a folder.
func kustomize(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	out, err := run(tool(t, "kustomize"), "build", dir)
	require.NoError(t, err, out)
	return decode(t, out)
}

var chart = filepath.Join("helm", "isthmus")

// helm renders the chart with values, as --set takes them.
func helm(t *testing.T, values ...string) (string, error) {
	t.Helper()
	args := []string{"template", "isthmus", chart, "--namespace", "isthmus"}
	for _, value := range values {
		args = append(args, "--set", value)
	}
	return run(tool(t, "helm"), args...)
}

// cluster is the least that the chart must be told, with the values of
// base/watcher.yaml.
var cluster = []string{
	"clusterset=prod", "cluster=west", "gossip.advertise=203.0.113.7:7946", "gossip.join={east.example.net:7946}",
}

func rendered(t *testing.T, values ...string) []*unstructured.Unstructured {
	t.Helper()
	out, err := helm(t, append(cluster, values...)...)
	require.NoError(t, err, out)
	return decode(t, out)
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(data, into))
}
