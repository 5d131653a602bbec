package replica

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// View is from where an agent sees the clusterset: what its watcher tells it
// about its own cluster. Immutable.
type View struct {
	Cluster  string
	Network  string
	Locality discovery.Locality
	// Routing is the cluster's routing policy as package locality encodes it.
	// It means nothing here, and is bounded by MaxRouting.
	Routing string
}

// MaxRouting is the length of the longest routing policy, in octets.
const MaxRouting = 64 << 10

func (v View) encode() *wire.Viewer {
	return &wire.Viewer{Cluster: v.Cluster, Network: v.Network, Locality: encodeLocality(v.Locality), Routing: v.Routing}
}

// viewer is all that agents are told of the cluster.
func (r *Replica) viewer() *wire.Viewer {
	return withRules(r.view.Load(), r.store, r.config.Forget)
}

// withRules is a view with what the cluster accepts and how long it keeps it.
func withRules(v *View, s *store, forget time.Duration) *wire.Viewer {
	w := v.encode()
	w.Import, w.ForgetSeconds = s.imports.Load().encode(), uint64(forget/time.Second)
	return w
}

// SetImport changes what is accepted, here and by our agents. The error is that
// of Validate.
func (r *Replica) SetImport(im Import) error {
	if err := im.Validate(); err != nil {
		return err
	}
	r.store.setImport(&im)
	r.tellViewer()
	return nil
}

func (r *Replica) tellViewer() {
	r.feed.sendAll(&wire.StreamMessage{Body: &wire.StreamMessage_Viewer{Viewer: r.viewer()}})
}

func decodeView(w *wire.Viewer) (*View, error) {
	v := &View{Cluster: w.GetCluster(), Network: w.GetNetwork(), Locality: decodeLocality(w.GetLocality()), Routing: w.GetRouting()}
	if len(v.Routing) > MaxRouting {
		return nil, fmt.Errorf("viewer: routing policy of %d octets: %w", len(v.Routing), errTooLarge)
	}
	record := discovery.Cluster{Name: v.Cluster, Network: v.Network, Locality: v.Locality}
	if err := record.Validate(); err != nil {
		return nil, fmt.Errorf("viewer: %w", err)
	}
	return v, nil
}

// View is what agents are told of the cluster; the pointer is the same until it
// is set anew.
func (r *Replica) View() *View { return r.view.Load() }

// SetView changes what agents are told of the cluster, now and when they come.
// One caller at a time.
func (r *Replica) SetView(v View) {
	if *r.view.Load() == v { // the pointer, too, stays the same
		return
	}
	r.view.Store(&v)
	r.tellViewer()
}

func (s *Subscriber) setView(w *wire.Viewer) {
	v, err := decodeView(w)
	if err == nil {
		err = s.setRules(w)
	}
	if err != nil {
		s.refuse(w.GetCluster(), err)
		return
	}
	if old := s.view.Load(); old == nil || *old != *v {
		s.view.Store(v)
		s.dirty.Store(true)
	}
}

// setRules takes over what the watcher accepts, and for how long.
func (s *Subscriber) setRules(w *wire.Viewer) error {
	im, err := decodeImport(w.GetImport())
	if err != nil {
		return err
	}
	forget := time.Duration(min(w.GetForgetSeconds(), maxForgetSeconds)) * time.Second
	if forget == 0 {
		forget = DefaultForget
	}
	s.forget.Store(int64(max(forget, MinForget)))
	if !proto.Equal(im.encode(), s.store.imports.Load().encode()) {
		s.store.setImport(im)
		s.dirty.Store(true)
	}
	return nil
}

// maxForgetSeconds is a hundred years, which fits a time.Duration.
const maxForgetSeconds = 100 * 365 * 24 * 3600
