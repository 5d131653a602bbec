package e2e

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// binEnv names the environment variable with the path of bin/isthmus.
const binEnv = "ISTHMUS_BIN"

// binary is the program under test.
func binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv(binEnv)
	if path == "" {
		t.Skip(binEnv + " names no isthmus binary: `make e2e` builds it and sets the variable")
	}
	return path
}

// process is an `isthmus` that a test started, and may start again.
type process struct {
	name string
	path string
	args []string
	env  []string
	log  string // file; all starts append to it

	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended and is reaped
}

// launch starts `isthmus args...` and ends it with the test. If the test
// fails, the end of the log is printed.
func launch(t testing.TB, name, dir string, env []string, args ...string) *process {
	t.Helper()
	p := &process{
		name: name, path: binary(t), args: args, log: filepath.Join(dir, name+".log"),
		env: append(env, "PATH="+os.Getenv("PATH"), "HOME="+dir),
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, p.text(16<<10))
		}
	})
	p.start(t)
	return p
}

func (p *process) start(t testing.TB) {
	t.Helper()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer out.Close()
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = p.env, out, out
	p.cmd.SysProcAttr = dieWithParent()
	require.NoError(t, p.cmd.Start(), p.name)
	cmd, exited := p.cmd, make(chan struct{})
	p.exited = exited
	go func() {
		_ = cmd.Wait() // its state says more
		close(exited)
	}()
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only if it has ended already
	<-p.exited
}

// terminate asks the process to end, as the kubelet does, and returns its exit
// code.
func (p *process) terminate(t testing.TB) int {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM), p.name)
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Errorf("%s ignores SIGTERM", p.name)
		p.kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// text is the end of the log.
func (p *process) text(limit int64) string {
	file, err := os.Open(p.log)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > limit {
		_, _ = file.Seek(-limit, io.SeekEnd)
	}
	text, _ := io.ReadAll(io.LimitReader(file, limit))
	return string(text)
}

// logged tells whether a line of the log has all the parts.
func (p *process) logged(parts ...string) bool {
	for line := range strings.Lines(p.text(1 << 20)) {
		all := true
		for _, part := range parts {
			all = all && strings.Contains(line, part)
		}
		if all {
			return true
		}
	}
	return false
}
