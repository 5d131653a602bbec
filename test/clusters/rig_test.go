package clusters

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the tests are told.
const (
	rigEnv         = "ISTHMUS_RIG"         // the folder where `make rig` built the rig, and in which it runs
	binaryEnv      = "ISTHMUS_BIN"         // bin/isthmus
	kubeconfigsEnv = "ISTHMUS_KUBECONFIGS" // of clusters to use in the place of the rig's, by colons
	imagesEnv      = "ISTHMUS_IMAGES"      // and what they can pull: of the product, of ./pod, and one with curl and sh, by spaces
	faultsEnv      = "ISTHMUS_FAULTS"      // faults at full length
	clustersEnv    = "ISTHMUS_CLUSTERS"    // how many; 2
	keepEnv        = "ISTHMUS_RIG_KEEP"    // to work on the tests: use the clusters that run, and leave them
)

// missing is why there can be no clusters here, or "".
func missing() string {
	if os.Getenv(binaryEnv) == "" {
		return binaryEnv + " names no isthmus: `make e2e` builds it and sets the variable"
	}
	if os.Getenv(kubeconfigsEnv) != "" {
		return ""
	}
	if os.Getenv(rigEnv) == "" {
		return rigEnv + " names no rig: `make rig` builds it, `make e2e` sets the variable"
	}
	if os.Getuid() != 0 {
		return "only root can make the nodes' namespaces"
	}
	for _, file := range []string{theRig().program(), theRig().kube()} {
		if _, err := os.Stat(file); err != nil {
			return fmt.Sprintf("`make rig` has not built all: %v", err)
		}
	}
	return ""
}

// rig drives the program of test/rig. It is the folder that the rig works in.
type rig string

func theRig() rig { return rig(os.Getenv(rigEnv)) }

func (r rig) program() string { return filepath.Join(string(r), "build", "rig") }

func (r rig) kube() string { return filepath.Join(string(r), "build", "kube") }

// desk is the folder that the tests work in as the clusters' administrator.
func (r rig) desk() string { return filepath.Join(string(r), "e2e") }

func (r rig) output(args ...string) (string, error) {
	cmd := exec.Command(r.program(), args...)
	cmd.Env = append(os.Environ(), "RIG_DIR="+string(r))
	cmd.SysProcAttr = orphan() // or it went on to start what "down" has ended
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("rig %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(string(out)), nil
}

func (r rig) run(args ...string) error {
	_, err := r.output(args...)
	return err
}

// must is run in a test.
func (r rig) must(t testing.TB, args ...string) string {
	t.Helper()
	out, err := r.output(args...)
	require.NoError(t, err)
	return out
}

// address adds one to the first node of a cluster, outside the range that the
// rig gives out, so that a gateway of this address can be reached.
func (r rig) address(t testing.TB, c *cluster, address string) {
	t.Helper()
	netns := r.must(t, "netns", strconv.Itoa(c.number), "1")
	out, err := exec.Command("ip", "-n", netns, "addr", "replace", address+"/32", "dev", "eth0").CombinedOutput()
	require.NoError(t, err, string(out))
}

// up starts the clusters and brings them our images. Low ports are closed to
// ordinary users, as container runtimes before containerd 2 had it: the
// agents must open theirs themselves.
func (r rig) up(t testing.TB, clusters, nodes int, dir string) {
	t.Helper()
	r.must(t, "up", "-clusters", strconv.Itoa(clusters), "-nodes", strconv.Itoa(nodes), "-low-ports=false")
	program := filepath.Join(dir, "pod")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./pod")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	archives := []string{"load"}
	for _, image := range []struct{ name, user, file string }{
		{"rig.local/isthmus:1", "65532", os.Getenv(binaryEnv) + ":/isthmus"},
		{"rig.local/pod:1", "65532", program + ":/pod"},
	} {
		archive := filepath.Join(dir, strings.NewReplacer("/", "-", ":", "-").Replace(image.name)+".tar")
		r.must(t, "image", "-user", image.user, image.name, archive, image.file)
		archives = append(archives, archive)
	}
	r.must(t, archives...)
}
