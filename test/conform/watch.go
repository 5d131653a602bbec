package conform

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/gossip/transport"
	"github.com/isthmus-dns/isthmus/gossip/trust"
	"github.com/isthmus-dns/isthmus/test/cluster"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

const rootFile = "ca.crt"

// Watch runs a watcher for each cluster of the model in this process until the
// test ends. Agents of the viewer's cluster connect to listen, which is
// host:port. The watchers differ from real ones in that their messages go
// through memory, and only to the viewer's.
func (m *Model) Watch(t testing.TB, a *trust.Authority, listen string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watchers{t: t, ctx: ctx, authority: a, dir: t.TempDir()}
	t.Cleanup(func() { cancel(); w.alive.Wait() })
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, rootFile), a.CertPEM(), 0o600))
	own := slices.IndexFunc(m.Clusters, func(c Cluster) bool { return c.Record.Name == m.Viewer.Cluster })
	w.start(m.Clusters[own], listen, m.Viewer) // the first is the hub
	for i, c := range m.Clusters {
		if i != own {
			w.start(c, freeport.Addr(t), replica.View{Cluster: c.Record.Name, Locality: c.Record.Locality})
		}
	}
}

// watchers are those of one model.
type watchers struct {
	t         testing.TB
	ctx       context.Context
	authority *trust.Authority
	dir       string
	alive     sync.WaitGroup
	hub       *watcher // the viewer's, which hears all others

	mu    sync.Mutex
	peers []replica.Peer // of the hub
}

// watcher is one cluster's, and the network that its replica speaks through.
type watcher struct {
	*watchers
	replica *replica.Replica
	peer    replica.Peer
}

var _ replica.Network = (*watcher)(nil)

// Send implements replica.Network.
func (w *watcher) Send(member string, msg []byte) error {
	if member != w.hub.peer.Name || w == w.hub {
		return fmt.Errorf("%s hears nobody", member)
	}
	msg = slices.Clone(msg)
	w.alive.Go(func() { w.hub.replica.HandleMessage(w.peer.Name, msg) })
	return nil
}

// Peers implements replica.Network.
func (w *watcher) Peers() []replica.Peer {
	if w != w.hub {
		return []replica.Peer{w.hub.peer}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.peers)
}

func (w *watchers) start(c Cluster, listen string, view replica.View) {
	w.t.Helper()
	name := c.Record.Name
	member := "w0." + name
	base := filepath.Join(w.dir, name)
	cluster.Issue(w.t, w.authority, trust.ID{Clusterset: cluster.Name, Cluster: name, Role: trust.Watcher}, base)
	identity, err := trust.Load(trust.Files{Cert: base + ".crt", Key: base + ".key", CA: filepath.Join(w.dir, rootFile)}, cluster.Name)
	require.NoError(w.t, err)
	port, err := transport.Listen(transport.Config{Listen: listen, Name: member, Identity: identity})
	require.NoError(w.t, err)
	r, err := replica.New(replica.Config{Member: member, Identity: identity, Viewer: view, Table: discovery.NewTable()})
	require.NoError(w.t, err)
	here := &watcher{watchers: w, replica: r, peer: replica.Peer{Name: member, Cluster: name, Addr: listen}}
	if w.hub == nil {
		w.hub = here
	} else {
		w.mu.Lock()
		w.peers = append(w.peers, here.peer)
		w.mu.Unlock()
	}
	r.Attach(here)
	publisher := r.NewPublisher()
	publisher.Update(discovery.Update{Whole: true, Cluster: c.Record, Services: c.Services})
	w.alive.Go(func() { _ = port.Run(w.ctx) })
	w.alive.Go(func() { _ = r.Serve(w.ctx, port.GRPC()) })
	w.alive.Go(func() { _ = r.Run(w.ctx) })
	w.alive.Go(func() { _ = publisher.Run(w.ctx) })
	w.alive.Go(func() { _ = publisher.Lead(w.ctx, epochs{}) })
}

// epochs are those of a cluster that was never there before.
type epochs struct{}

// NextEpoch implements replica.Epochs.
func (epochs) NextEpoch(_ context.Context, atLeast uint64) (uint64, error) { return atLeast + 1, nil }
