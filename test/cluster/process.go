package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/history"
)

// patience bounds waits for processes and sockets. It is long because test
// machines are shared; nothing waits for it to pass.
const patience = 30 * time.Second

// Process is a program that can be started, stopped and started again. Its
// output goes to one file for all its lives.
type Process struct {
	// Name is for messages, as in "watcher of east".
	Name string
	path string // "" for isthmus
	args []string
	env  []string
	log  string // file

	t       *scope
	lives   atomic.Int64
	cmd     *exec.Cmd
	exited  chan struct{} // closed when cmd has ended and is reaped
	failure error         // of Wait; valid once exited is closed
}

// Program is one that isn't ours, to be started beside clusters. It logs to a
// file below dir and ends with the test.
func Program(t testing.TB, dir, path string, args ...string) *Process {
	name := filepath.Base(path)
	p := &Process{Name: name, path: path, args: args, env: environment(name), log: filepath.Join(dir, name+".log"), t: &scope{t}}
	t.Cleanup(p.end)
	return p
}

// Start starts the program; it must not run.
func (p *Process) Start() {
	p.t.Helper()
	require.False(p.t, p.Running(), "%s runs already", p.Name)
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(p.t, err)
	defer out.Close()
	// The line's end first: a program that was killed may have left half a line.
	_, err = fmt.Fprintf(out, "\n%s%d of %s, %s\n", history.LifeMark, p.lives.Add(1), p.Name, time.Now().UTC().Format(time.RFC3339Nano))
	require.NoError(p.t, err)
	path := p.path
	if path == "" {
		path = Binary(p.t)
	}
	cmd := exec.Command(path, p.args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = p.env
	cmd.SysProcAttr = dieWithParent()
	require.NoError(p.t, cmd.Start(), p.Name)
	exited := make(chan struct{})
	p.cmd, p.exited = cmd, exited
	go func() {
		p.failure = cmd.Wait()
		close(exited)
	}()
}

// Lives is how often the program was started.
func (p *Process) Lives() int { return int(p.lives.Load()) }

// LogFile is where the program writes to.
func (p *Process) LogFile() string { return p.log }

// Running tells whether the program has been started and has not ended.
func (p *Process) Running() bool {
	if p.exited == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// PID is the process id of a program that runs.
func (p *Process) PID() int {
	p.t.Helper()
	require.True(p.t, p.Running(), "%s does not run", p.Name)
	return p.cmd.Process.Pid
}

// Stop asks the program to end, waits until it has, and wants exit code 0.
func (p *Process) Stop() {
	p.t.Helper()
	require.True(p.t, p.Running(), "%s does not run", p.Name)
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM), p.Name)
	require.Zero(p.t, p.Wait(), "exit code of %s", p.Name)
}

// Kill ends the program without a chance to do anything about it.
func (p *Process) Kill() {
	p.t.Helper()
	require.True(p.t, p.Running(), "%s does not run", p.Name)
	require.NoError(p.t, p.cmd.Process.Kill(), p.Name)
	<-p.exited
}

// Freeze takes all time from the program (SIGSTOP): its connections stay open,
// its clocks go on.
func (p *Process) Freeze() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGSTOP), p.Name)
}

// Thaw lets a frozen program go on.
func (p *Process) Thaw() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGCONT), p.Name)
}

// Wait waits until the program ends by itself and returns its exit code, -1
// when a signal ended it.
func (p *Process) Wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		require.FailNow(p.t, p.Name+" does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// Log is all that the program wrote, in all its lives.
func (p *Process) Log() string {
	p.t.Helper()
	text, err := os.ReadFile(p.log)
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(p.t, err)
	}
	return string(text)
}

// Logged waits for a line of the log that holds all the given texts, and
// returns it.
func (p *Process) Logged(texts ...string) string {
	p.t.Helper()
	var found string
	require.Eventually(p.t, func() bool {
		for line := range strings.Lines(p.Log()) {
			if holdsAll(line, texts) {
				found = line
				return true
			}
		}
		return false
	}, patience, 20*time.Millisecond, "%s logs no line with %q", p.Name, texts)
	return found
}

func holdsAll(line string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(line, text) {
			return false
		}
	}
	return true
}

// end kills the program at the test's end, and shows its log if that failed.
func (p *Process) end() {
	if p.Running() {
		_ = p.cmd.Process.Kill() // fails only if it has ended by now
		<-p.exited
	}
	if p.t.Failed() && p.exited != nil {
		const most = 8 << 10
		text := p.Log()
		if len(text) > most {
			text = "…" + text[len(text)-most:]
		}
		p.t.Logf("log of %s:\n%s", p.Name, text)
	}
}

// Result is how a program ended.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// Run runs isthmus with arguments to its end, which must come within the given
// time.
func Run(t testing.TB, limit time.Duration, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, Binary(t), args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = environment("test-0")
	cmd.SysProcAttr = dieWithParent()
	err := cmd.Run()
	require.NoError(t, ctx.Err(), "isthmus %v goes on\n%s%s", args, &stdout, &stderr)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
}

// environment is what a process gets to know: nothing of the machine but where
// programs and temporary files are, and its name as a Pod.
func environment(pod string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "TMPDIR=" + os.TempDir(), "POD_NAME=" + pod}
}
