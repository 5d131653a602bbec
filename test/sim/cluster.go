package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// Cluster is one cluster: two watchers, of which one leads, and its services.
type Cluster struct {
	Name     string
	Watchers []*Watcher

	index    int
	identity *trust.Identity // both watchers', from one Secret
	record   *discovery.Cluster
	epochs   epochs
	leader   int // index in Watchers

	ready []uint32 // by service; written by the load's goroutine only
}

// epochs is the cluster's stored epoch, as its Lease would have it.
type epochs struct {
	mu sync.Mutex
	n  uint64
}

// NextEpoch implements replica.Epochs.
func (e *epochs) NextEpoch(_ context.Context, atLeast uint64) (uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n = max(e.n, atLeast) + 1
	return e.n, nil
}

func newCluster(i, services int, rng *rand.Rand) (*Cluster, error) {
	name := fmt.Sprintf("c%03d", i)
	identity, err := trust.Insecure(trust.ID{Clusterset: "sim", Cluster: name, Role: trust.Watcher})
	if err != nil {
		return nil, err
	}
	c := &Cluster{Name: name, index: i, identity: identity, ready: make([]uint32, services)}
	c.record = &discovery.Cluster{
		Name: name, UID: fmt.Sprintf("%08x-0000-4000-8000-%012x", rng.Uint32(), i),
		Locality: discovery.Locality{Region: fmt.Sprintf("region-%d", i%5), Zone: fmt.Sprintf("zone-%d", i%15)},
		GatewaySets: []discovery.GatewaySet{{Name: discovery.DefaultGatewaySet, Gateways: []discovery.Gateway{
			{Addresses: []netip.Addr{netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)})}, Port: 15443},
		}}},
	}
	for s := range c.ready {
		c.ready[s] = 1
	}
	return c, nil
}

// total is what every service counts as endpoints: more than any is ready.
const total = 100_000

// sameness is in about how many clusters a service of one name exists.
const sameness = 10

// service is a record as a usual one is: a port, an address, two zones.
func (c *Cluster) service(i int) *discovery.Service {
	return &discovery.Service{
		Namespace: c.namespace(i), Name: serviceName(i), Kind: discovery.KindClusterIP,
		Ports:      []discovery.Port{{Name: "http", Protocol: discovery.TCP, Port: 8080}},
		ClusterIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})},
		Counts:     []discovery.ZoneCount{{Zone: "a", Ready: c.ready[i], Total: total}, {Zone: "b", Ready: 1, Total: 3}},
		ExportedAt: 1_700_000_000,
	}
}

// namespace spreads services over twenty, in each group of clusters that share
// their names.
func (c *Cluster) namespace(i int) string {
	return fmt.Sprintf("team-%d-%d", i%20, c.index/sameness)
}

func serviceName(i int) string { return fmt.Sprintf("service-%d", i) }

func (c *Cluster) serviceKey(i int) discovery.Key {
	return discovery.MakeKey(c.namespace(i), serviceName(i))
}

// whole is what the cluster's source says first.
func (c *Cluster) whole() discovery.Update {
	record := *c.record
	u := discovery.Update{Whole: true, Cluster: &record}
	for i := range c.ready {
		u.Services = append(u.Services, c.service(i))
	}
	return u
}

// change makes one more endpoint of a service ready: each change has its own
// number, and a table that shows it shows all before it. Both watchers' sources
// see it at once.
func (c *Cluster) change(i int) uint32 {
	c.ready[i]++
	for _, w := range c.Watchers {
		w.publisher.Update(discovery.Update{Services: []*discovery.Service{c.service(i)}})
	}
	return c.ready[i]
}

// failOver stops the leader; the other watcher takes over.
func (c *Cluster) failOver(ctx context.Context, wg *sync.WaitGroup) {
	old := c.Watchers[c.leader]
	old.mu.Lock()
	depose := old.depose
	old.mu.Unlock()
	depose()
	c.leader = (c.leader + 1) % len(c.Watchers)
	c.Watchers[c.leader].lead(ctx, wg)
}
