package e2e

import "syscall"

// dieWithParent has the kernel kill a child when this process ends, however it
// ends.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
