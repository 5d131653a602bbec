//go:build linux

package dnsperf

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

// One worker, as the others have one processor.
const knotConf = `server:
  listen: 127.0.0.1@%[1]s
  rundir: %[2]q
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: %[2]q
zone:
  - domain: global
    storage: %[2]q
    file: global.zone
    zonefile-sync: -1
    journal-content: none
log:
  - target: stderr
    any: warning
`

// knot starts Knot DNS with the same names if it is installed: the yardstick
// for what a name server written for speed needs.
func knot(tb testing.TB, dir string) []*server {
	program, err := exec.LookPath("knotd")
	if err != nil {
		return nil
	}
	dir = filepath.Join(dir, "knot")
	require.NoError(tb, os.Mkdir(dir, 0o700))
	var zone strings.Builder
	zone.WriteString("$ORIGIN global.\n$TTL 5\n@ SOA ns.dns hostmaster 1 7200 1800 86400 5\n@ NS ns.dns\nns.dns A 127.0.0.1\n")
	for i := range services {
		fmt.Fprintf(&zone, "%s. A %s\n", qname(i), gateway)
	}
	require.NoError(tb, os.WriteFile(filepath.Join(dir, "global.zone"), []byte(zone.String()), 0o600))
	port := freeport.Port(tb)
	conf := filepath.Join(dir, "knot.conf")
	require.NoError(tb, os.WriteFile(conf, []byte(fmt.Sprintf(knotConf, port, dir)), 0o600))
	return []*server{{
		name:    "knot",
		addr:    net.JoinHostPort("127.0.0.1", port),
		process: start(tb, dir, "knotd", nil, program, "-c", conf),
	}}
}
