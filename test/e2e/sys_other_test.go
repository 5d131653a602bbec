//go:build !linux

package e2e

import "syscall"

// dieWithParent: only Linux can tie a process's life to its parent's.
func dieWithParent() *syscall.SysProcAttr { return nil }
