package clusters

import "syscall"

// orphan has a process end when the one that started it does, however that
// ended.
func orphan() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
