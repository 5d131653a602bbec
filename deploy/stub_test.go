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
	for _, args := range [][]string{nil, {"add"}, {"add", ""}, {"add", "10.96.7.7 10.96.7.8"}, {"add", "None"}, {"ad", "10.96.0.53"}} {
		cmd := exec.Command(filepath.Join("stub", "corefile.sh"), args...)
		cmd.Stdin = strings.NewReader(kubeadms)
		out, err := cmd.CombinedOutput()
		require.Error(t, err, args)
		require.Contains(t, string(out), "usage:")
		require.NotContains(t, string(out), "forward", "nothing that could be applied")
	}
}

// TestStubScriptWantsACorefile: a cluster whose ConfigMap was not read would
// have no DNS but the stub.
func TestStubScriptWantsACorefile(t *testing.T) {
	for _, in := range []string{"", "\n", stub(t, "10.96.7.7")} {
		for _, args := range [][]string{{"add", "10.96.7.7"}, {"remove"}} {
			cmd := exec.Command(filepath.Join("stub", "corefile.sh"), args...)
			cmd.Stdin = strings.NewReader(in)
			out, err := cmd.Output()
			require.Error(t, err, "%q", in)
			require.Empty(t, out)
		}
	}
}

// TestStubCommandStopsInTime types command 9 of README.md where kubectl can't
// read what it must: nothing is applied then.
func TestStubCommandStopsInTime(t *testing.T) {
	command := commands(t)[8]
	script, err := filepath.Abs("stub")
	require.NoError(t, err)
	for _, tt := range []struct {
		name, corefile, address string
		applied                 bool
	}{
		{"as it should be", `cat "$HERE/kubeadms"`, "echo 10.96.7.7", true},
		{"no Corefile", "exit 1", "echo 10.96.7.7", false},
		{"another cluster's DNS", "exit 0", "echo 10.96.7.7", false},
		{"no Service", `cat "$HERE/kubeadms"`, "exit 1", false},
		{"a headless Service", `cat "$HERE/kubeadms"`, "echo None", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.Symlink(script, filepath.Join(dir, "stub")))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "kubeadms"), []byte(kubeadms), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "kubectl"), []byte(`#!/bin/sh
case "$*" in
*"get configmap coredns"*) `+tt.corefile+` ;;
*"get service isthmus-dns"*) `+tt.address+` ;;
*"create configmap"*) for word; do case $word in --from-file=Corefile=*) cat "${word#--from-file=Corefile=}" ;; esac; done ;;
*apply*) cat >"$HERE/applied" ;;
esac
`), 0o700))
			cmd := exec.Command("sh", "-c", "CLUSTER=west\n"+command)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "HERE="+dir, "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if !tt.applied {
				require.Error(t, err)
				require.NoFileExists(t, filepath.Join(dir, "applied"))
				return
			}
			require.NoError(t, err, "%s", out)
			applied, err := os.ReadFile(filepath.Join(dir, "applied"))
			require.NoError(t, err)
			require.Equal(t, kubeadms+"\n"+stub(t, "10.96.7.7"), string(applied))
			before, err := os.ReadFile(filepath.Join(dir, "coredns-west.before"))
			require.NoError(t, err, "what it was is kept")
			require.Equal(t, kubeadms, string(before))
		})
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
