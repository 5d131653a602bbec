// Package namespace runs a test program in Linux namespaces of its own for
// network and mounts, so that a test can have addresses, routes, ports and files
// in /etc that are nobody else's.
package namespace

import (
	"fmt"
	"os"
)

// Enter runs this test program again in namespaces of its own, which end with
// it, and exits with its exit code. Inside, it returns "" with loopback up. Where
// there can be no namespaces it returns why. Call it from TestMain.
func Enter() (why string) {
	inside, err := within()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "the tests' namespaces:", err)
		os.Exit(1)
	case inside:
		return ""
	}
	return reenter()
}
