package kubetest

import "syscall"

// dieWithParent has the kernel kill a program when this process ends, however
// it ends: a test that panics or is killed runs no cleanup.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
