// Package distance puts gateways of real clusters at a distance: the clusters'
// processes are in one network namespace, their gateways in another, and a relay
// in user space carries packets between the two, later, or not at all.
package distance

import (
	"os"
	"testing"

	"github.com/isthmus-dns/isthmus/test/cluster"
	"github.com/isthmus-dns/isthmus/test/namespace"
)

// program names the isthmus program.
const program = "ISTHMUS_BIN"

var outsideReason string

// TestMain runs the tests in a network namespace of their own.
func TestMain(m *testing.M) {
	if os.Getenv(program) != "" {
		outsideReason = namespace.Enter()
	}
	cluster.Main(m)
}

func needNamespace(t *testing.T) {
	t.Helper()
	switch {
	case os.Getenv(program) == "":
		t.Skip(program, "is not set: it names the isthmus program (make e2e)")
	case outsideReason != "":
		t.Skip(outsideReason)
	}
}
