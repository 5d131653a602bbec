// Package scale measures what real watchers and agents take at the size that
// DESIGN section 10 promises: 100 clusters with 1,000 services each.
//
// Real are `isthmus watch` of two clusters and `isthmus dns` of one, in
// processes of their own. The other 98 clusters live in the test's process, two
// watchers each: with the product's pool, publisher, port, certificates and
// server, but without a table of the others (light_test.go says what differs).
// To the real processes they look like any other watcher; their own cost
// counts nowhere, except that it is the same processor.
package scale

import (
	"testing"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

func TestMain(m *testing.M) { cluster.Main(m) }
