// Package knot writes what Knot DNS needs to serve zones on loopback, for tests
// that want a name server which isn't ours beside it. It starts nothing.
package knot

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/test/freeport"
)

// One worker for each kind of work: tests are about what is answered, and the
// benchmark gives each server one processor. Replies are at most 1232 octets
// over UDP, as with CoreDNS's bufsize in our Corefiles.
const conf = `server:
  listen: 127.0.0.1@%[1]s
  rundir: %[2]q
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
  udp-max-payload: 1232
database:
  storage: %[2]q
log:
  - target: stderr
    any: warning
zone:
`

const confZone = `  - domain: %[1]q
    storage: %[2]q
    file: %[3]q
    zonefile-sync: -1
    journal-content: none
`

// Server is a Knot to be started.
type Server struct {
	Program string
	Args    []string
	Addr    string // host:port, UDP and TCP
}

// Write writes zone files, by origin, and a configuration below dir, which must
// be there. The server is nil when Knot is not installed.
func Write(tb testing.TB, dir string, zones map[string]string) *Server {
	tb.Helper()
	program, err := exec.LookPath("knotd")
	if err != nil {
		return nil
	}
	dir = filepath.Join(dir, "knot")
	require.NoError(tb, os.Mkdir(dir, 0o700))
	port := freeport.Port(tb)
	var text strings.Builder
	fmt.Fprintf(&text, conf, port, dir)
	for origin, zone := range zones {
		file := strings.TrimSuffix(origin, ".") + ".zone"
		require.NoError(tb, os.WriteFile(filepath.Join(dir, file), []byte(zone), 0o600))
		fmt.Fprintf(&text, confZone, origin, dir, file)
	}
	file := filepath.Join(dir, "knot.conf")
	require.NoError(tb, os.WriteFile(file, []byte(text.String()), 0o600))
	return &Server{Program: program, Args: []string{"-c", file}, Addr: net.JoinHostPort("127.0.0.1", port)}
}
