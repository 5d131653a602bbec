// Package imports checks who imports whom: DESIGN section 2's directions are
// what keeps client-go out of agents and memberlist out of DNS.
package imports

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/isthmus-dns/isthmus"

type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// packages are all packages of the module, by path below it.
func packages(t *testing.T) map[string]listed {
	list := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", module+"/...")
	var complaint strings.Builder
	list.Stderr = &complaint
	out, err := list.Output()
	require.NoError(t, err, complaint.String())
	all := map[string]listed{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			require.NotEmpty(t, all)
			return all
		} else {
			require.NoError(t, err)
		}
		all[strings.TrimPrefix(p.ImportPath, module+"/")] = p
	}
}

// TestDirections: what each tree may import of ours.
func TestDirections(t *testing.T) {
	allowed := map[string][]string{
		"discovery":               {},
		"discovery/export":        {"discovery"},
		"discovery/external":      {"discovery"},
		"discovery/kube":          {"discovery"},
		"discovery/manifest":      {"discovery"},
		"discovery/probe":         {"discovery"},
		"gossip":                  {},
		"gossip/trust":            {},
		"gossip/transport":        {"gossip", "gossip/trust"},
		"gossip/replica":          {"discovery", "gossip/trust", "gossip/replica"},
		"gossip/replica/wire":     {},
		"plugin/isthmus":          {"discovery", "gossip/replica", "gossip/trust", "plugin/isthmus"},
		"plugin/isthmus/locality": {"discovery"},
	}
	all := packages(t)
	for name, may := range allowed {
		p, ok := all[name]
		require.True(t, ok, "%s is gone: mend this test", name)
		for _, imported := range p.Imports {
			ours, isOurs := strings.CutPrefix(imported, module+"/")
			if !isOurs {
				continue
			}
			ok := false
			for _, prefix := range may {
				// A tree's name allows the packages below it, but gossip means
				// only itself: memberlist must not come in through a sibling.
				ok = ok || ours == prefix || prefix != "gossip" && strings.HasPrefix(ours, prefix+"/")
			}
			require.True(t, ok, "%s imports %s", name, ours)
		}
	}
	for name := range all {
		top, _, _ := strings.Cut(name, "/")
		if top == "cmd" || top == "test" || top == "deploy" {
			continue
		}
		require.Contains(t, allowed, name, "a new package: say here what it may import")
	}
}

// TestOnlyImporters: libraries that have one place.
func TestOnlyImporters(t *testing.T) {
	only := map[string]string{
		"k8s.io/client-go":                "discovery/kube",
		"github.com/hashicorp/memberlist": "gossip",
		"github.com/coredns/coredns":      "plugin/isthmus",
		"google.golang.org/grpc":          "gossip/replica",
	}
	for name, p := range packages(t) {
		if strings.HasPrefix(name, "cmd/") || strings.HasPrefix(name, "test/") || name == "deploy" {
			continue
		}
		for _, imported := range p.Imports {
			for library, home := range only {
				if imported != library && !strings.HasPrefix(imported, library+"/") {
					continue
				}
				require.True(t, name == home || library == "google.golang.org/grpc" && name == path.Join(home, "wire"),
					"%s imports %s; only %s may", name, imported, home)
			}
		}
	}
}

// TestModelIsPlain: the model needs nothing but the standard library.
func TestModelIsPlain(t *testing.T) {
	for _, dep := range packages(t)["discovery"].Deps {
		first, _, _ := strings.Cut(dep, "/")
		require.False(t, strings.Contains(first, ".") && !strings.HasPrefix(dep, "vendor/"), "discovery depends on %s", dep)
	}
}
