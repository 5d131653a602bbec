// Package resolvers asks an agent as the programs in a Pod do: through the
// resolvers of C libraries, languages and tools, with a Pod's resolv.conf, and
// through a cache.
package resolvers

import (
	"fmt"
	"os"
	"testing"

	"github.com/isthmus-dns/isthmus/test/cluster"
	"github.com/isthmus-dns/isthmus/test/namespace"
)

// program names the isthmus program.
const program = "ISTHMUS_BIN"

// TestMain runs the tests in a network namespace of their own, where an agent
// can have port 53 and /etc/resolv.conf names it, if this machine and user
// may make one.
func TestMain(m *testing.M) {
	if os.Getenv(program) != "" {
		if outsideReason = namespace.Enter(); outsideReason == "" {
			if err := furnish(); err != nil {
				fmt.Fprintln(os.Stderr, "the namespace's files:", err)
				os.Exit(1)
			}
		}
	}
	cluster.Main(m)
}

// outsideReason is why the tests run without a namespace.
var outsideReason string

func needNamespace(t *testing.T) {
	t.Helper()
	needProgram(t)
	if outsideReason != "" {
		t.Skip(outsideReason)
	}
}

// needProgram skips where the program under test was not named: it is what
// `make e2e` builds.
func needProgram(t *testing.T) {
	t.Helper()
	if os.Getenv(program) == "" {
		t.Skip(program, "is not set: it names the isthmus program (make e2e)")
	}
}
