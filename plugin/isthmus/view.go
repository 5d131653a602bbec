package isthmus

import (
	"context"
	"log/slog"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
)

// View is where an agent stands, as its watcher tells it.
type View = replica.View

// link is what a stanza needs of the stream from the watcher. All methods are
// called for each query: they must neither wait nor allocate.
type link interface {
	// Table is always the same one. Until it is loaded nothing is answered.
	Table() *discovery.Table
	// View is nil until a watcher or the snapshot on disk has told it; without
	// it nothing is answered, because the own cluster's Services would get the
	// address of a gateway.
	View() *View
	// Stale tells that no watcher is connected now.
	Stale() bool
	// Heard is when a cluster was last heard of, with a monotonic reading; ok is
	// false when nothing has been heard of it since this process began.
	Heard(cluster string) (at time.Time, ok bool)
	// Gateways is what checks from our cluster found out about the gateways of
	// others, the same pointer until it changes; nil knows nothing.
	Gateways() *replica.GatewayStates
}

// linkConfig is everything that makes two links different. It is comparable:
// stanzas with equal configurations share a link.
type linkConfig struct {
	watchers      string // host:port, separated by a space
	cert, key, ca string // files; all empty when insecure
	insecure      bool   // plain text to the watchers
	clusterset    string // "" takes what the certificate names
	snapshot      string // directory of the copy on disk, "" for none
	node          string // how the watcher calls this agent in its logs and metrics
}

// openFunc makes a link that is not running, and what runs it until ctx ends.
// An error is the user's: a file that can't be read, a certificate of another
// clusterset.
type openFunc func(cfg linkConfig, logger *slog.Logger) (l link, run func(ctx context.Context) error, err error)
