// Package stock builds the plugin into a CoreDNS that is not ours, the way its
// users do, and looks at what came along.
package stock

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// program is what CoreDNS' `make` generates from a plugin.cfg of these lines:
//
//	errors:errors
//	isthmus:github.com/isthmus-dns/isthmus/plugin/isthmus
//	hosts:hosts
const program = `package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/isthmus-dns/isthmus/plugin/isthmus"
)

func init() { dnsserver.Directives = []string{"errors", "isthmus", "hosts"} }

func main() { coremain.Run() }
`

func TestPluginInAStockCoreDNS(t *testing.T) {
	// Below the module, so that it builds with the module's dependencies.
	dir, err := os.MkdirTemp(".", "program-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600))

	deps, err := exec.Command("go", "list", "-deps", "./"+dir).CombinedOutput()
	require.NoError(t, err, string(deps))
	require.Contains(t, string(deps), "github.com/isthmus-dns/isthmus/plugin/isthmus")
	for _, unwanted := range []string{"k8s.io/client-go/", "k8s.io/api/", "github.com/hashicorp/memberlist"} {
		require.NotContains(t, string(deps), unwanted)
	}

	binary := filepath.Join(t.TempDir(), "coredns")
	build := exec.Command("go", "build", "-o", binary, "./"+dir)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	out, err = exec.Command(binary, "-plugins").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, strings.Fields(string(out)), "isthmus")
}
