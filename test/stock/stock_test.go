// Package stock builds the plugin into a CoreDNS that is not ours, the way its
// users do, and looks at what came along.
package stock

import (
	"encoding/json"
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
	overlay := overlaid(t)
	deps, err := exec.Command("go", "list", "-overlay", overlay, "-deps", "./program").CombinedOutput()
	require.NoError(t, err, string(deps))
	require.Contains(t, string(deps), "github.com/isthmus-dns/isthmus/plugin/isthmus")
	for _, unwanted := range []string{"k8s.io/client-go/", "k8s.io/api/", "github.com/hashicorp/memberlist"} {
		require.NotContains(t, string(deps), unwanted)
	}

	binary := filepath.Join(t.TempDir(), "coredns")
	build := exec.Command("go", "build", "-overlay", overlay, "-o", binary, "./program")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	out, err = exec.Command(binary, "-plugins").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, strings.Fields(string(out)), "isthmus")
}

// overlaid lays the program into the module, so that it builds with the
// module's dependencies, for those commands only that are told so: a folder that
// comes and goes would break others that list the module's packages meanwhile.
func overlaid(t *testing.T) (file string) {
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(source, []byte(program), 0o600))
	place, err := filepath.Abs(filepath.Join("program", "main.go"))
	require.NoError(t, err)
	text, err := json.Marshal(map[string]map[string]string{"Replace": {place: source}})
	require.NoError(t, err)
	file = filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	return file
}
