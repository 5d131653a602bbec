//go:build linux

package dnsperf

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// isthmus is the program under test: ISTHMUS_BIN, or built from this tree.
func isthmus(tb testing.TB) string {
	if path := os.Getenv("ISTHMUS_BIN"); path != "" {
		path, err := filepath.Abs(path)
		require.NoError(tb, err)
		require.FileExists(tb, path, "ISTHMUS_BIN")
		return path
	}
	path := filepath.Join(tb.TempDir(), "isthmus")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "github.com/isthmus-dns/isthmus/cmd/isthmus")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(tb, err, string(out))
	return path
}

// tool finds a program that the system has to bring.
func tool(tb testing.TB, name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		tb.Fatalf("%s is not installed: run `make tools`", name)
	}
	return path
}

// process is a server that runs until the test ends.
type process struct {
	pid    int
	log    string
	exited <-chan struct{} // closed when it has ended, whatever the reason
}

// start runs a program in a folder, its output in a file there.
func start(tb testing.TB, dir, name string, env []string, program string, args ...string) *process {
	log := filepath.Join(dir, name+".log")
	out, err := os.Create(log)
	require.NoError(tb, err)
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Env = append(os.Environ(), env...)
	// A test that is killed runs no cleanup.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(tb, cmd.Start())
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed in the end
		close(exited)
	}()
	p := &process{pid: cmd.Process.Pid, log: log, exited: exited}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill() // fails only if it has ended already
		<-exited
		if tb.Failed() {
			tb.Logf("%s said:\n%s", name, p.said())
		}
	})
	return p
}

func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// said is the end of what the program wrote.
func (p *process) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4096):])
}
