package scale

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/transport"
	"github.com/isthmus-dns/isthmus/gossip/trust"
	"github.com/isthmus-dns/isthmus/test/cluster"
	"github.com/isthmus-dns/isthmus/test/freeport"
)

// light is one watcher of a cluster that is only there for the real ones. It
// differs from them so:
//
//   - its replica holds its own cluster's part alone, so that it serves only
//     that, and its digests name only that;
//   - it sends news on as a replica does, but believes signatures;
//   - it speaks to other light watchers in memory, see hub;
//   - the second watcher of a cluster shares the first one's replica.
type light struct {
	name    string
	pool    *gossip.Pool
	port    *port
	replica *replica.Replica

	mu   sync.Mutex
	seen map[string]*wire.Head // newest, by cluster
}

var _ gossip.Handler = (*light)(nil)

// HandleMessage sends news on, to whom a replica would: the siblings, unless
// one of them has sent it, and some other member.
func (l *light) HandleMessage(sender string, msg []byte) {
	m, h := &wire.Message{}, &wire.Head{}
	if proto.Unmarshal(msg, m) != nil || proto.Unmarshal(m.GetAnnouncement().GetHead().GetHead(), h) != nil {
		return
	}
	if h.Cluster == "" || !l.isNews(h) {
		return
	}
	_, own, _ := strings.Cut(l.name, ".")
	_, from, _ := strings.Cut(sender, ".")
	members := l.pool.Members()
	if from != own && h.Cluster != own {
		for _, m := range members {
			if m.Cluster == own && !m.Self {
				_ = l.pool.Send(m.Name, msg) // best effort
			}
		}
	}
	_ = l.pool.Send(members[rand.IntN(len(members))].Name, msg) // best effort
}

func (l *light) isNews(h *wire.Head) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.seen[h.Cluster]; old != nil && (old.Epoch > h.Epoch ||
		old.Epoch == h.Epoch && (old.Seq > h.Seq || old.Seq == h.Seq && old.Heartbeat >= h.Heartbeat)) {
		return false
	}
	l.seen[h.Cluster] = h
	return true
}

func (l *light) Digest() []byte      { return l.replica.Digest() }
func (l *light) HandleDigest([]byte) {}
func (l *light) PeersChanged()       {}

// network is what a light cluster's replica speaks through.
type network struct{ *gossip.Pool }

func (n network) Peers() []replica.Peer {
	var out []replica.Peer
	for _, m := range n.Members() {
		if !m.Self {
			out = append(out, replica.Peer{Name: m.Name, Cluster: m.Cluster, Addr: m.Addr})
		}
	}
	return out
}

// lightCluster is a cluster of light watchers.
type lightCluster struct {
	name      string
	index     int
	watchers  []*light
	replica   *replica.Replica
	publisher *replica.Publisher
}

// crowd is all light clusters.
type crowd struct {
	t        testing.TB
	dir      string
	trust    *trust.Authority
	hub      hub
	clusters []*lightCluster
	services int // of each cluster
	alive    sync.WaitGroup
	ctx      context.Context
}

// watchersPerCluster is what deploy/ starts.
const watchersPerCluster = 2

// newCrowd starts light clusters that publish so many services each. They end
// with the test.
func newCrowd(t testing.TB, a *trust.Authority, clusters, services int) *crowd {
	ctx, cancel := context.WithCancel(context.Background())
	c := &crowd{t: t, dir: t.TempDir(), trust: a, services: services, ctx: ctx}
	t.Cleanup(func() { cancel(); c.alive.Wait() })
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "ca.crt"), a.CertPEM(), 0o600))
	for i := range clusters {
		c.add(i)
	}
	return c
}

// seeds are some addresses to join through.
func (c *crowd) seeds() []string {
	var out []string
	for _, l := range c.clusters[:min(3, len(c.clusters))] {
		out = append(out, l.watchers[0].port.addr.String())
	}
	return out
}

func (c *crowd) identity(name string) *trust.Identity {
	base := filepath.Join(c.dir, name)
	cluster.Issue(c.t, c.trust, trust.ID{Clusterset: cluster.Name, Cluster: name, Role: trust.Watcher}, base)
	id, err := trust.Load(trust.Files{Cert: base + ".crt", Key: base + ".key", CA: filepath.Join(c.dir, "ca.crt")}, cluster.Name)
	require.NoError(c.t, err)
	return id
}

// add starts one more cluster: its part first, then its watchers.
func (c *crowd) add(index int) {
	lc := &lightCluster{name: fmt.Sprintf("light-%03d", index), index: index}
	identity := c.identity(lc.name)
	var err error
	lc.replica, err = replica.New(replica.Config{Member: "w0." + lc.name, Identity: identity, Table: discovery.NewTable()})
	require.NoError(c.t, err)
	lc.publisher = lc.replica.NewPublisher()
	lc.publisher.Update(discovery.Update{Whole: true, Cluster: record(lc.name, index), Services: services(index, c.services)})
	for i := range watchersPerCluster {
		c.watch(lc, fmt.Sprintf("w%d.%s", i, lc.name), identity)
	}
	lc.replica.Attach(network{lc.watchers[0].pool})
	c.alive.Go(func() { _ = lc.replica.Run(c.ctx) })
	c.alive.Go(func() { _ = lc.publisher.Run(c.ctx) })
	c.alive.Go(func() { _ = lc.publisher.Lead(c.ctx, fresh{}) })
	c.clusters = append(c.clusters, lc)
}

func (c *crowd) watch(lc *lightCluster, name string, identity *trust.Identity) {
	t, err := transport.Listen(transport.Config{Listen: freeport.Addr(c.t), Name: name, Identity: identity})
	require.NoError(c.t, err)
	l := &light{name: name, port: c.hub.join(t), replica: lc.replica, seen: map[string]*wire.Head{}}
	var join []string
	if len(c.clusters) > 0 {
		join = c.seeds()
	}
	l.pool, err = gossip.New(gossip.Config{
		Name: name, Advertise: l.port.addr.String(), Join: join, Transport: l.port, Handler: l,
		Tuning: gossip.Tuning{LeaveTimeout: 10 * time.Millisecond}, // nobody hears the farewell
	})
	require.NoError(c.t, err)
	lc.watchers = append(lc.watchers, l)
	c.alive.Go(func() { _ = t.Run(c.ctx) })
	c.alive.Go(func() { l.port.run(c.ctx) })
	c.alive.Go(func() { _ = lc.replica.Serve(c.ctx, t.GRPC()) })
	c.alive.Go(func() { _ = l.pool.Run(c.ctx) })
}

// fresh are the epochs of a cluster that was never there before.
type fresh struct{}

func (fresh) NextEpoch(_ context.Context, atLeast uint64) (uint64, error) { return atLeast + 1, nil }

// change changes so many services of all clusters a minute, evenly, until the
// test ends: replicas come and go.
func (c *crowd) change(perMinute int) {
	pause := time.Minute / time.Duration(perMinute)
	c.alive.Go(func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-c.ctx.Done():
				return
			case <-tick.C:
			}
			lc := c.clusters[n%len(c.clusters)]
			s := makeService(lc.index, n/len(c.clusters)%c.services)
			s.Counts[0].Ready = 1 + uint32(n/len(c.clusters)/c.services+n)%4
			lc.publisher.Update(discovery.Update{Services: []*discovery.Service{s}})
		}
	})
}
