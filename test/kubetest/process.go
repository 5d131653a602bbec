package kubetest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
)

// process is a program that this package started.
type process struct {
	name   string
	log    string
	cmd    *exec.Cmd
	exited chan struct{} // closed when the program has ended and is reaped
}

// start runs the kube binary with the given arguments, the first of which
// names the program; its output is appended to the file log.
func start(binary, log string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", args[0], err)
	}
	defer out.Close()
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir()}
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start of %s: %w", args[0], err)
	}
	p := &process{name: args[0], log: log, cmd: cmd, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // the exit status of a killed program says nothing
		close(p.exited)
	}()
	return p, nil
}

// kill ends the program at once and waits until it has. Nothing it holds is
// needed afterwards, and a graceful end of an API server takes many seconds.
func (p *process) kill() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill() // fails only if the program has ended already
	<-p.exited
}

func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// tail is the end of the program's log.
func (p *process) tail() string {
	const size = 4 << 10
	file, err := os.Open(p.log)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > size {
		if _, err := file.Seek(-size, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	text, err := io.ReadAll(io.LimitReader(file, size))
	if err != nil {
		return err.Error()
	}
	return string(text)
}
