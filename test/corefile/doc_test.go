// Package corefile starts every Corefile that a reader of this repository may
// copy: in Markdown files, in manifests, and files of that name. The program is
// the real one; only addresses and the names of files are put in.
package corefile

import (
	"testing"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

func TestMain(m *testing.M) { cluster.Main(m) }
