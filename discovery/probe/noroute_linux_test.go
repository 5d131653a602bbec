package probe

import (
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Where this machine has no way at all, as a Pod without IPv6 has none to IPv6,
// the gateway is not to blame. The check is made by this test's binary in a
// network namespace of its own, which has no route.
func TestCheckNoRoute(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1:443":     "ours connect: no route from here",
		"[2001:db8::1]:443": "ours connect: ", // no route, or no address
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), checkOne+"="+addr)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET}
		out, err := cmd.Output()
		if out == nil && err != nil {
			t.Skip("no namespaces here: ", err)
		}
		require.NoError(t, err)
		require.Contains(t, string(out), want)
	}
	require.True(t, routed(netip.MustParseAddrPort("127.0.0.1:9")))
}
