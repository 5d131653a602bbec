//go:build linux

package dnsperf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-dns/isthmus/test/knot"
)

// startKnot starts Knot DNS with the same names if it is installed: the
// yardstick for what a name server written for speed needs.
func startKnot(tb testing.TB, dir string) []*server {
	var zone strings.Builder
	zone.WriteString("$ORIGIN global.\n$TTL 5\n@ SOA ns.dns hostmaster 1 7200 1800 86400 5\n@ NS ns.dns\nns.dns A 127.0.0.1\n")
	for i := range services {
		fmt.Fprintf(&zone, "%s. A %s\n", qname(i), gateway)
	}
	s := knot.Write(tb, dir, map[string]string{"global.": zone.String()})
	if s == nil {
		return nil
	}
	return []*server{{name: "knot", addr: s.Addr, process: start(tb, dir, "knotd", nil, s.Program, s.Args...)}}
}
