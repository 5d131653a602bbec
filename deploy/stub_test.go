package deploy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// corefileSh runs the filter of stub/.
func corefileSh(t *testing.T, in string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join("stub", "corefile.sh"), args...)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}

// kubeadms is the Corefile that kubeadm makes, as jsonpath prints it.
const kubeadms = `.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}`

func stub(t *testing.T, address string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("stub", "global.corefile"))
	require.NoError(t, err)
	require.Contains(t, string(text), "10.96.0.53")
	return strings.ReplaceAll(string(text), "10.96.0.53", address)
}

// TestStubInCorefile: added as often as one likes it is there once, with the
// last address; what else there is stays as it was.
func TestStubInCorefile(t *testing.T) {
	once := corefileSh(t, kubeadms, "add", "10.96.7.7")
	require.Equal(t, kubeadms+"\n"+stub(t, "10.96.7.7"), once)
	require.Equal(t, kubeadms+"\n"+stub(t, "fd00::7"), corefileSh(t, once, "add", "fd00::7"))
	require.Equal(t, kubeadms+"\n", corefileSh(t, once, "remove"))
	require.Equal(t, kubeadms+"\n", corefileSh(t, kubeadms, "remove"))

	own := "global.example:53 {\n    forward . 192.0.2.1\n}\n"
	require.Equal(t, own+stub(t, "10.96.7.7"), corefileSh(t, own, "add", "10.96.7.7"), "another zone's block")
}

func TestStubScriptWantsAnAddress(t *testing.T) {
	for _, args := range [][]string{nil, {"add"}, {"ad", "10.96.0.53"}} {
		cmd := exec.Command(filepath.Join("stub", "corefile.sh"), args...)
		out, err := cmd.CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), "usage:")
	}
}

// TestStubsAgree: each form forwards the same zone to the address that the
// commands replace.
func TestStubsAgree(t *testing.T) {
	for _, file := range []string{"aks.yaml", "k3s.yaml"} {
		t.Run(file, func(t *testing.T) {
			var config struct{ Data map[string]string }
			readYAML(t, filepath.Join("stub", file), &config)
			require.Len(t, config.Data, 1)
			require.Equal(t, stub(t, "10.96.0.53"), config.Data["isthmus.server"])
		})
	}
	t.Run("gke.yaml", func(t *testing.T) {
		var config struct{ Data map[string]string }
		readYAML(t, filepath.Join("stub", "gke.yaml"), &config)
		var domains map[string][]string
		require.NoError(t, json.Unmarshal([]byte(config.Data["stubDomains"]), &domains))
		require.Equal(t, map[string][]string{"global": {"10.96.0.53"}}, domains)
	})
}
