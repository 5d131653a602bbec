package resolvers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// resolvConf is what kubelet writes into a Pod of the namespace default, but
// for the address of the name server.
const resolvConf = `nameserver 127.0.0.1
search default.svc.cluster.local svc.cluster.local cluster.local
options ndots:5
`

// nsswitchConf keeps what a desktop has besides out of the C library's way.
const nsswitchConf = "hosts: files dns\n"

// inside tells this program that it is in its namespace.
const inside = "ISTHMUS_TEST_NAMESPACE"

// outsideReason is why the tests run without a namespace.
var outsideReason string

func needNamespace(t *testing.T) {
	t.Helper()
	needProgram(t)
	if outsideReason != "" {
		t.Skip(outsideReason)
	}
}

// enterNamespace runs this test program again in namespaces of its own for
// network and mounts, which end with it. ran is false when there can be none.
func enterNamespace() (code int, ran bool) {
	if os.Getuid() != 0 {
		outsideReason = "only root can make a network namespace with /etc/resolv.conf of its own"
		return 0, false
	}
	if _, err := exec.LookPath("ip"); err != nil {
		outsideReason = "not installed: ip (Debian's iproute2), to bring up the namespace's loopback"
		return 0, false
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Start()
	if err != nil {
		outsideReason = "namespaces for network and mounts: " + err.Error()
		return 0, false
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, true
	}
	return cmd.ProcessState.ExitCode(), true
}

// inNamespace tells whether this program is in its namespace, and furnishes it.
func inNamespace() (bool, error) {
	if os.Getenv(inside) == "" {
		return false, nil
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return false, fmt.Errorf("ip link set lo up: %w %s", err, out)
	}
	// What is mounted here must not be seen outside.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return false, fmt.Errorf("private mounts: %w", err)
	}
	dir, err := os.MkdirTemp("", "isthmus-etc-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir) // the mounts hold the files
	for name, text := range map[string]string{"resolv.conf": resolvConf, "nsswitch.conf": nsswitchConf} {
		if err := cover(filepath.Join("/etc", name), filepath.Join(dir, name), text); err != nil {
			return false, err
		}
	}
	return true, nil
}

// cover puts a text in the place of a file that is there.
func cover(file, with, text string) error {
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) && file != "/etc/resolv.conf" {
		return nil
	}
	if err := os.WriteFile(with, []byte(text), 0o644); err != nil {
		return err
	}
	if err := syscall.Mount(with, file, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
