//go:build !linux

package clusters

import "syscall"

// orphan can't be had elsewhere, nor can the rig.
func orphan() *syscall.SysProcAttr { return nil }
