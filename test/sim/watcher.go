package sim

import (
	"context"
	"sync"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// Watcher is one watcher, put together as cmd/isthmus does it.
type Watcher struct {
	Name  string // "<watcher>.<cluster>"
	Table *discovery.Table
	Port  *Port

	cluster   *Cluster
	replica   *replica.Replica
	publisher *replica.Publisher
	pool      *gossip.Pool

	mu     sync.Mutex
	depose context.CancelFunc // ends its reign; nil while another leads
}

func newWatcher(n *Network, c *Cluster, name, addr string, join []string, identity *trust.Identity) (*Watcher, error) {
	w := &Watcher{Name: name, Table: discovery.NewTable(), Port: n.Listen(name, addr), cluster: c}
	var err error
	w.replica, err = replica.New(replica.Config{
		Member: name, Identity: identity, Table: w.Table, ExpectPeers: true,
		Viewer: replica.View{Cluster: c.Name, Locality: c.record.Locality},
		Dial:   w.Port.DialPull,
	})
	if err != nil {
		return nil, err
	}
	w.publisher = w.replica.NewPublisher()
	w.pool, err = gossip.New(gossip.Config{
		Name: name, Advertise: addr, Join: join, Transport: w.Port, Handler: w.replica,
	})
	if err != nil {
		return nil, err
	}
	w.replica.Attach(network{w.pool})
	return w, nil
}

// run lives until ctx ends.
func (w *Watcher) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.replica.Serve(ctx, w.Port.pulls) })
	wg.Go(func() { _ = w.replica.Run(ctx) })
	wg.Go(func() { _ = w.publisher.Run(ctx) })
	wg.Go(func() { _ = w.pool.Run(ctx) })
	wg.Wait()
}

// lead publishes until ctx ends or Cluster.FailOver deposes the watcher.
func (w *Watcher) lead(ctx context.Context, wg *sync.WaitGroup) {
	ctx, cancel := context.WithCancel(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.depose = cancel
	wg.Go(func() { _ = w.publisher.Lead(ctx, &w.cluster.epochs) })
}

// network lets the replica speak through the pool.
type network struct{ *gossip.Pool }

// Peers implements replica.Network.
func (n network) Peers() []replica.Peer {
	var out []replica.Peer
	for _, m := range n.Members() {
		if !m.Self {
			out = append(out, replica.Peer{Name: m.Name, Cluster: m.Cluster, Addr: m.Addr})
		}
	}
	return out
}
