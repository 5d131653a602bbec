package cluster

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// FreePort finds a loopback port that nobody listens on, by TCP nor by UDP. It
// lies below the range that Linux and others take the ports of outgoing
// connections from, so that a stopped process finds its port free when it
// comes back.
func FreePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(10000)))
		if Free(addr) {
			return addr
		}
	}
	require.FailNow(t, "no free loopback port in 100 tries")
	return ""
}

// Free tells whether an address can be listened on, by TCP and UDP.
func Free(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer l.Close()
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	_ = c.Close() // it was never used
	return true
}
