//go:build !linux

package transport

import (
	"net"
	"time"
)

// setUserTimeout has no counterpart here: keepalive and write deadlines remain.
func setUserTimeout(*net.TCPConn, time.Duration) {}
