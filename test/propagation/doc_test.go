// Package propagation measures the time from a change in one cluster to the
// changed answer in another: from before a manifest is renamed into place (or
// removed) in east, to the first answer over UDP from west's agent that shows
// it. Three clusters, all real processes on one machine, real gossip over
// mutual TLS.
package propagation

import (
	"testing"

	"github.com/isthmus-dns/isthmus/test/cluster"
)

func TestMain(m *testing.M) { cluster.Main(m) }
