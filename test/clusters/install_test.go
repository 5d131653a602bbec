package clusters

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// typed are the manual's commands for one cluster, in its order.
var typed = []string{
	"isthmus pki issue --dir pki --cluster west",
	"kubectl apply -f base/namespace.yaml",
	"isthmus pki secrets --dir pki --cluster west | kubectl apply -f -",
	"kubectl apply -k west",
}

// install follows the manual in all clusters, from an empty one to the first
// answer.
func (f *fleet) install(t *testing.T) {
	t.Helper()
	if f.kept {
		return
	}
	for _, c := range f.clusters {
		if f.rig == "" { // else it ends as a whole
			t.Cleanup(func() { f.uninstall(t, c) })
		}
	}
	require.NoError(t, os.CopyFS(filepath.Join(f.dir, "deploy", "base"), os.DirFS(filepath.Join(deploy, "base"))))
	for _, c := range f.clusters {
		f.overlay(t, c)
	}
	once := "isthmus pki init --dir pki --clusterset prod"
	f.manual.command(t, once)
	require.NoError(t, f.types(f.clusters[0], once))
	each(t, f.clusters, func(c *cluster) error { return f.types(c, typed...) })
	for _, line := range typed {
		f.manual.command(t, line)
	}
	f.took(t, "applied for the first time")

	// Now the addresses are known that the manual has written into the files.
	f.demo(t)
	gossip := map[string]string{}
	for _, c := range f.clusters {
		gossip[c.name] = c.balanced(t, "isthmus", "isthmus-gossip") + ":7946"
	}
	for _, c := range f.clusters {
		f.configure(t, c, gossip)
	}
	each(t, f.clusters, func(c *cluster) error { return f.types(c, "kubectl apply -k west") })
	for _, c := range f.clusters {
		f.stub(t, c)
	}
	for _, c := range f.clusters {
		c.rolledOut(t, "isthmus", "deployment/isthmus-watcher")
		c.rolledOut(t, "isthmus", "daemonset/isthmus-agent")
		c.rolledOut(t, "kube-system", f.dnsWorkload(c))
	}
	f.took(t, "applied with addresses, and rolled out")
}

// types types commands in the folder of the manual.
func (f *fleet) types(c *cluster, lines ...string) error {
	for _, line := range lines {
		line = strings.ReplaceAll(line, example, c.name)
		if _, err := c.shell(filepath.Join(f.dir, "deploy"), line, ""); err != nil {
			return err
		}
	}
	return nil
}

// overlay writes a cluster's folder as the manual shows it, with the base's
// files as they are: the addresses in them can't be known yet.
func (f *fleet) overlay(t testing.TB, c *cluster) {
	t.Helper()
	name, tag, found := strings.Cut(f.images.product, ":")
	require.True(t, found, "an image needs a tag: %s", f.images.product)
	f.write(t, c, "kustomization.yaml", replace(t, f.manual.block(t, "kind: Kustomization"),
		"registry.example.com/isthmus", name, "newTag: v0.1.0", fmt.Sprintf("newTag: %q", tag)))
	corefile, err := os.ReadFile(filepath.Join(deploy, "base", "Corefile"))
	require.NoError(t, err)
	f.write(t, c, "Corefile", string(corefile))
	f.write(t, c, "watcher.yaml", f.watcher(t, c))
}

// watcher is the base's watcher.yaml with the cluster's name.
func (f *fleet) watcher(t testing.TB, c *cluster) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, "base", "watcher.yaml"))
	require.NoError(t, err)
	return replace(t, string(text), "cluster: west\n", "cluster: "+c.name+"\n")
}

// configure writes what differs between clusters into watcher.yaml.
func (f *fleet) configure(t testing.TB, c *cluster, gossip map[string]string) {
	t.Helper()
	join := ""
	for _, other := range f.clusters {
		if other != c {
			join += "    - " + gossip[other.name] + "\n"
		}
	}
	text := replace(t, f.watcher(t, c), "203.0.113.7:7946", gossip[c.name], "    - east.example.net:7946 ", join+"    #")
	f.write(t, c, "watcher.yaml", text+f.gateways(t, c))
}

func (f *fleet) write(t testing.TB, c *cluster, file, text string) {
	t.Helper()
	path := filepath.Join(f.dir, "deploy", c.name, file)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// stub has the cluster's CoreDNS ask the agents, by the manual's block.
func (f *fleet) stub(t *testing.T, c *cluster) {
	t.Helper()
	block := replace(t, f.manual.block(t, "forward . 10.96.0.53"), "10.96.0.53", c.service(t, "isthmus", "isthmus-dns").Spec.ClusterIP)
	maps := c.client.CoreV1().ConfigMaps("kube-system")
	config, err := maps.Get(t.Context(), "coredns", metav1.GetOptions{})
	require.NoError(t, err, "this needs a CoreDNS that kubeadm would install")
	before := config.Data["Corefile"]
	config.Data["Corefile"] = before + block
	_, err = maps.Update(t.Context(), config, metav1.UpdateOptions{})
	require.NoError(t, err)
	restart := "kubectl -n kube-system rollout restart " + f.dnsWorkload(c)
	_, err = c.shell("", restart, "")
	require.NoError(t, err)
	if f.rig != "" {
		return
	}
	t.Cleanup(func() {
		patch := `kubectl -n kube-system patch configmap coredns --type merge -p "$(cat)"`
		_, err := c.shell("", patch, fmt.Sprintf(`{"data": {"Corefile": %q}}`, before))
		_, again := c.shell("", restart, "")
		if err := errors.Join(err, again); err != nil {
			t.Errorf("the cluster's Corefile is not what it was: %v", err)
		}
	})
}

// dnsWorkload is what runs the cluster's CoreDNS.
func (f *fleet) dnsWorkload(*cluster) string {
	if f.rig != "" {
		return "daemonset/coredns"
	}
	return "deployment/coredns"
}

// uninstall leaves a cluster that is not the rig's as it was.
func (f *fleet) uninstall(t *testing.T, c *cluster) {
	if err := f.types(c, "kubectl delete --ignore-not-found -k west", "kubectl delete --ignore-not-found namespace demo"); err != nil {
		t.Error(err)
	}
}
