package sim

import (
	"context"
	"fmt"
	"sync"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/replica"
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
	kill   context.CancelFunc // ends its run
	depose context.CancelFunc // ends its reign; nil if it never led
}

func (s *Clusterset) newWatcher(c *Cluster, k int) (*Watcher, error) {
	name, addr := fmt.Sprintf("w%d.%s", k, c.Name), address(c.index, k)
	w := &Watcher{Name: name, Table: discovery.NewTable(), Port: s.Net.Listen(name, addr), cluster: c, kill: func() {}}
	var err error
	w.replica, err = replica.New(replica.Config{
		Member: name, Identity: c.identity, Table: w.Table, ExpectPeers: true,
		Viewer: replica.View{Cluster: c.Name, Locality: c.record.Locality},
		Dial:   w.Port.DialPull, Shared: &s.shared,
	})
	if err != nil {
		return nil, err
	}
	w.publisher = w.replica.NewPublisher()
	w.pool, err = gossip.New(gossip.Config{
		Name: name, Advertise: addr, Join: s.join, Transport: w.Port, Handler: w.replica,
	})
	if err != nil {
		return nil, err
	}
	w.replica.Attach(network{w.pool})
	return w, nil
}

// run lives until ctx ends or the watcher is killed.
func (w *Watcher) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.mu.Lock()
	w.kill = cancel
	w.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.replica.Serve(ctx, w.Port.pulls) })
	wg.Go(func() { _ = w.replica.Run(ctx) })
	wg.Go(func() { _ = w.publisher.Run(ctx) })
	wg.Go(func() { _ = w.pool.Run(ctx) })
	wg.Wait()
}

// stop kills the watcher, if it runs.
func (w *Watcher) stop() {
	w.mu.Lock()
	kill := w.kill
	w.mu.Unlock()
	kill()
}

// lead publishes until ctx ends or the watcher is deposed.
func (w *Watcher) lead(ctx context.Context, wg *sync.WaitGroup) {
	ctx, cancel := context.WithCancel(ctx)
	w.mu.Lock()
	w.depose = cancel
	w.mu.Unlock()
	wg.Go(func() { _ = w.publisher.Lead(ctx, &w.cluster.epochs) })
}

// network lets the replica speak through the pool.
type network struct{ *gossip.Pool }

var _ replica.Network = network{}

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
