package namespace

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// variable tells this program that it is in its namespaces.
const variable = "ISTHMUS_TEST_NAMESPACE"

func within() (bool, error) {
	if os.Getenv(variable) == "" {
		return false, nil
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return false, fmt.Errorf("ip link set lo up: %w %s", err, out)
	}
	// What is mounted here must not be seen outside.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return false, fmt.Errorf("private mounts: %w", err)
	}
	return true, nil
}

func reenter() (why string) {
	if os.Getuid() != 0 {
		return "only root can make namespaces for network and mounts"
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return "not installed: ip (Debian's iproute2), to bring up the namespace's loopback"
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return "namespaces for network and mounts: " + err.Error()
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "the tests in their namespaces:", err)
		os.Exit(1)
	}
	os.Exit(cmd.ProcessState.ExitCode())
	return ""
}
