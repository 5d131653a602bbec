//go:build !linux

package kubetest

import "syscall"

// dieWithParent: only Linux can tie a program's life to its parent's.
func dieWithParent() *syscall.SysProcAttr { return nil }
