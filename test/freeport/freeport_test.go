package freeport_test

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/freeport"
)

const child = "ISTHMUS_FREEPORT_CHILD"

// TestDistinct: no port twice, across blocks and across processes.
func TestDistinct(t *testing.T) {
	const each = 250 // more than two blocks
	if os.Getenv(child) != "" {
		var list []string
		for range each {
			list = append(list, freeport.Port(t))
		}
		_, _ = os.Stdout.WriteString("ports " + strings.Join(list, " ") + "\n")
		// Held until the parent has what it wants.
		_, _ = os.Stdin.Read(make([]byte, 1))
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestDistinct$")
	cmd.Env = append(os.Environ(), child+"=1")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	text := make([]byte, 4096)
	n, err := out.Read(text)
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, p := range strings.Fields(string(text[:n]))[1:] {
		require.False(t, seen[p], p)
		seen[p] = true
	}
	require.Len(t, seen, each)
	for range each {
		p := freeport.Port(t)
		require.False(t, seen[p], p)
		seen[p] = true
		number, err := strconv.Atoi(p)
		require.NoError(t, err)
		require.Less(t, number, 32768)
	}
}

func TestFree(t *testing.T) {
	addr := freeport.Addr(t)
	require.True(t, freeport.Free(addr))
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	defer l.Close()
	require.False(t, freeport.Free(addr))
}
