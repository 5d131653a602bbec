// Package crash kills, freezes and robs real processes while services change
// all the time, and lets a checker (test/history) judge what all nodes showed:
// nothing may go back, come back or be lost.
package crash

import (
	"os"
	"testing"
	"time"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

func TestMain(m *testing.M) { cluster.Main(m) }

// soakEnv asks for the whole tests, which take most of an hour.
const soakEnv = "ISTHMUS_SOAK"

// of is the short number, or the long one for a soak.
func of(short, long int) int {
	if os.Getenv(soakEnv) != "" {
		return long
	}
	return short
}

const (
	// patience bounds waits for processes and elections; what is waited for
	// takes up to 10 s. A held mass deletion takes 30 s more.
	patience = 2 * time.Minute
	// pause is between two looks at what is waited for.
	pause = 10 * time.Millisecond
)

// eventually polls from this goroutine, so that what is polled may fail the
// test.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(pause) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
