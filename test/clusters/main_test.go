package clusters

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
)

// child tells this program that another instance of it tidies up.
const child = "ISTHMUS_RIG_CHILD"

// TestMain runs the tests in a process of their own where they start the rig's
// clusters: those must end with the tests also if a test panics or takes too
// long, and then no deferred function runs.
func TestMain(m *testing.M) {
	if missing() != "" || os.Getenv(kubeconfigsEnv) != "" || os.Getenv(child) != "" {
		os.Exit(m.Run())
	}
	os.Exit(guard())
}

// guard runs this program again and ends the clusters after it.
func guard() int {
	runtime.LockOSThread() // the child dies with the thread that started it
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), child+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = orphan()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // it may have ended
		}
	}()
	err := cmd.Wait()
	code := 0
	if err != nil {
		code = 1
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	if os.Getenv(keepEnv) != "" {
		return code
	}
	if err := errors.Join(theRig().run("down"), os.RemoveAll(theRig().desk())); err != nil {
		fmt.Fprintln(os.Stderr, "the clusters did not end:", err)
		return 1
	}
	return code
}
