package replica

import (
	"fmt"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// View is from where an agent sees the clusterset: what its watcher tells it
// about its own cluster. Immutable.
type View struct {
	Cluster  string
	Network  string
	Locality discovery.Locality
}

func (v View) encode() *wire.Viewer {
	return &wire.Viewer{Cluster: v.Cluster, Network: v.Network, Locality: encodeLocality(v.Locality)}
}

func decodeView(w *wire.Viewer) (*View, error) {
	v := &View{Cluster: w.GetCluster(), Network: w.GetNetwork(), Locality: decodeLocality(w.GetLocality())}
	record := discovery.Cluster{Name: v.Cluster, Network: v.Network, Locality: v.Locality}
	if err := record.Validate(); err != nil {
		return nil, fmt.Errorf("viewer: %w", err)
	}
	return v, nil
}

// SetView changes what agents are told of the cluster, now and when they come.
func (r *Replica) SetView(v View) {
	if old := r.view.Swap(&v); old == nil || *old != v {
		r.feed.sendAll(&wire.StreamMessage{Body: &wire.StreamMessage_Viewer{Viewer: v.encode()}})
	}
}
