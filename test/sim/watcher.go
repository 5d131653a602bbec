package sim

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

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
		Dial:   w.Port.DialPull, Shared: s.shared,
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
	w.replica.Attach(&network{pool: w.pool})
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
type network struct {
	pool  *gossip.Pool
	peers atomic.Pointer[peers]
}

// peers is the pool's list in the replica's form. It is made anew when that one
// is: at each message, it was a fifth of what a simulation allocates.
type peers struct {
	from []gossip.Member
	list []replica.Peer
}

var _ replica.Network = (*network)(nil)

// Send implements replica.Network.
func (n *network) Send(member string, msg []byte) error { return n.pool.Send(member, msg) }

// Peers implements replica.Network.
func (n *network) Peers() []replica.Peer {
	members := n.pool.Members()
	if len(members) == 0 {
		return nil
	}
	if p := n.peers.Load(); p != nil && &p.from[0] == &members[0] {
		return p.list
	}
	p := &peers{from: members}
	for _, m := range members {
		if !m.Self {
			p.list = append(p.list, replica.Peer{Name: m.Name, Cluster: m.Cluster, Addr: m.Addr})
		}
	}
	n.peers.Store(p)
	return p.list
}
