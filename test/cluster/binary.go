package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// program is where the isthmus program of this test process is, and what was
// made for it.
var program struct {
	once sync.Once
	path string
	dir  string // to be removed; "" when nothing was built
	err  error
}

// Main runs the tests of a package that uses this one and removes what was
// built for them. Call it from TestMain.
func Main(m *testing.M) {
	code := m.Run()
	if program.dir != "" {
		_ = os.RemoveAll(program.dir) // what stays is the system's to clean
	}
	os.Exit(code)
}

// Binary is the path of the isthmus program: $ISTHMUS_BIN, or one that is
// built now.
func Binary(t testing.TB) string {
	t.Helper()
	program.once.Do(func() { program.path, program.err = findOrBuild() })
	if program.err != nil {
		t.Fatal(program.err)
	}
	return program.path
}

func findOrBuild() (string, error) {
	if path := os.Getenv("ISTHMUS_BIN"); path != "" {
		path, err := filepath.Abs(path)
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("ISTHMUS_BIN: %w", err)
		}
		return path, nil
	}
	dir, err := os.MkdirTemp("", "isthmus-bin-")
	if err != nil {
		return "", err
	}
	program.dir = dir
	path := filepath.Join(dir, "isthmus")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path,
		"github.com/isthmus-dns/isthmus/cmd/isthmus")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build of isthmus: %w\n%s", err, out)
	}
	return path, nil
}
