package clusters

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// steps of the manual, by what it must have before the tests can go on.
type steps struct{ once, address, settings, secrets, overlay, rest []string }

// readSteps takes the commands as they stand. What they are for is told by
// their place and their words, so that a manual of another shape fails here.
func readSteps(t testing.TB, m manual) (s steps) {
	t.Helper()
	for _, line := range m.commands(t, "### Once") {
		if !strings.HasPrefix(line, "docker ") { // the images are there already
			s.once = append(s.once, line)
		}
	}
	each := m.commands(t, "### In each cluster")
	at := func(with string) int {
		for i, line := range each {
			if strings.Contains(line, with) {
				return i
			}
		}
		require.Fail(t, "deploy/README.md has no such command", with)
		return 0
	}
	begin, secrets, overlay, apply := at("CLUSTER=west"), at("pki secrets"), at("overlays/cluster/"), at("apply -k")
	require.IsIncreasing(t, []int{begin, secrets, overlay, apply})
	s.address, s.settings = each[:begin], each[begin:begin+1]
	s.secrets, s.overlay, s.rest = each[secrets:secrets+1], each[overlay:overlay+1], each[apply:]
	return s
}

// install follows the manual in all clusters, from empty ones to the agents
// that are ready.
func (f *fleet) install(t *testing.T) {
	t.Helper()
	f.steps = readSteps(t, f.manual)
	if f.kept {
		for _, c := range f.clusters { // all that later commands need
			f.settings[c] = "CLUSTER=" + c.name
		}
		return
	}
	f.folder(t)
	for _, c := range f.clusters {
		if f.rig == "" { // else it ends as a whole
			t.Cleanup(func() { f.uninstall(t, c) })
		}
	}
	once := f.steps.once
	for _, c := range f.clusters[2:] { // the manual has two
		once = append(once, "isthmus pki issue --dir pki --cluster "+c.name)
	}
	require.NoError(t, f.types(f.clusters[0], once...))
	each(t, f.clusters, func(c *cluster) error { return f.types(c, f.steps.address...) })
	for i, c := range f.clusters {
		f.settings[c] = replace(t, f.steps.settings[0], "west", c.name, "203.0.113.7", c.balanced(t, "isthmus", "isthmus-gossip"),
			"198.51.100.7", f.clusters[(i+1)%len(f.clusters)].balanced(t, "isthmus", "isthmus-gossip"))
	}
	f.demo(t)
	each(t, f.clusters, func(c *cluster) error { return f.types(c, append(f.steps.secrets, f.steps.overlay...)...) })
	for _, c := range f.clusters {
		f.addGateways(t, c)
		f.keepDNS(t, c)
	}
	each(t, f.clusters, func(c *cluster) error { return f.types(c, f.steps.rest...) })
	f.took(t, "applied, and the agents are ready")
	for _, c := range f.clusters {
		f.ask(t, c)
		c.kubectl(t, "-n kube-system rollout restart "+f.dnsWorkload())
	}
	for _, c := range f.clusters {
		c.rolledOut(t, "kube-system", f.dnsWorkload())
		c.rolledOut(t, "isthmus", "deployment/isthmus-watcher")
	}
	f.took(t, "the clusters' DNS restarted")
}

// folder copies the manual's folder, with images that are there.
func (f *fleet) folder(t testing.TB) {
	t.Helper()
	copied := filepath.Join(f.dir, "deploy")
	require.NoError(t, os.CopyFS(copied, os.DirFS(deploy)))
	// What lies in build would count as packages of ours.
	require.NoError(t, filepath.WalkDir(copied, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".go" {
			err = os.Remove(path)
		}
		return err
	}))
	name, tag, found := strings.Cut(f.images.product, ":")
	require.True(t, found, "an image needs a tag: %s", f.images.product)
	f.edit(t, "overlays/cluster/kustomization.yaml", "registry.example.com/isthmus", name, "newTag: v0.1.0", fmt.Sprintf("newTag: %q", tag))
	f.edit(t, "examples/echo.yaml", "traefik/whoami:v1.11.0", f.images.pod)
}

// edit replaces text in a file of the folder.
func (f *fleet) edit(t testing.TB, file string, pairs ...string) {
	t.Helper()
	path := filepath.Join(f.dir, "deploy", file)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(replace(t, string(text), pairs...)), 0o600))
}

// types types commands in the manual's folder, after the one that says which
// cluster this is.
func (f *fleet) types(c *cluster, lines ...string) error {
	script := strings.Join(append([]string{f.settings[c]}, lines...), "\n")
	_, err := c.shell(filepath.Join(f.dir, "deploy"), script, "")
	return err
}

// addGateways has the Services that others can't reach by themselves go
// through the cluster's gateway.
func (f *fleet) addGateways(t testing.TB, c *cluster) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(f.dir, "deploy", "overlays", c.name, "watcher.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	defer file.Close()
	_, err = file.WriteString(gateways)
	require.NoError(t, err)
}

// dnsWorkload is what runs the clusters' CoreDNS.
func (f *fleet) dnsWorkload() string {
	if f.rig != "" {
		return "daemonset/coredns"
	}
	return "deployment/coredns"
}

// keepDNS gives a cluster that is not the rig's its Corefile back in the end.
func (f *fleet) keepDNS(t *testing.T, c *cluster) {
	t.Helper()
	if f.rig != "" {
		return
	}
	config, err := c.client.CoreV1().ConfigMaps("kube-system").Get(t.Context(), "coredns", metav1.GetOptions{})
	require.NoError(t, err, "this needs a CoreDNS that kubeadm would install")
	patch := fmt.Sprintf(`{"data": {"Corefile": %q}}`, config.Data["Corefile"])
	t.Cleanup(func() {
		_, err := c.shell("", `kubectl -n kube-system patch configmap coredns --type merge -p "$(cat)"`, patch)
		_, again := c.shell("", "kubectl -n kube-system rollout restart "+f.dnsWorkload(), "")
		if err := errors.Join(err, again); err != nil {
			t.Errorf("the cluster's Corefile is not what it was: %v", err)
		}
	})
}

// uninstall leaves a cluster that is not the rig's as it was.
func (f *fleet) uninstall(t *testing.T, c *cluster) {
	if err := f.types(c, "kubectl delete --ignore-not-found -k overlays/$CLUSTER", "kubectl delete --ignore-not-found namespace demo"); err != nil {
		t.Error(err)
	}
}
