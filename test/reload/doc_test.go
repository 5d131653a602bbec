// Package reload proves that an agent reads its Corefile again, by SIGUSR1 or
// by the reload plugin, without a client that notices: real processes, asked
// over UDP and TCP all the while, and nothing of an old Corefile stays.
//
// ISTHMUS_SOAK=1 makes it a hundred reloads instead of ten.
package reload

import (
	"os"
	"testing"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

func TestMain(m *testing.M) { cluster.Main(m) }

func soak() bool { return os.Getenv("ISTHMUS_SOAK") != "" }
