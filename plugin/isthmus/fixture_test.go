package isthmus

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
)

// fakeLink stands for the stream from a watcher.
type fakeLink struct {
	table *discovery.Table
	view  atomic.Pointer[View]
	stale atomic.Bool
	heard map[string]time.Time // set before anybody asks
	// heardNow replaces it, at any time.
	heardNow atomic.Pointer[map[string]time.Time]
	gates    atomic.Pointer[replica.GatewayStates]
}

var _ link = (*fakeLink)(nil)

func (l *fakeLink) Table() *discovery.Table { return l.table }
func (l *fakeLink) View() *View             { return l.view.Load() }
func (l *fakeLink) Stale() bool             { return l.stale.Load() }

func (l *fakeLink) Gateways() *replica.GatewayStates { return l.gates.Load() }

func (l *fakeLink) Heard(cluster string) (time.Time, bool) {
	if now := l.heardNow.Load(); now != nil {
		at, ok := (*now)[cluster]
		return at, ok
	}
	at, ok := l.heard[cluster]
	return at, ok
}

var (
	westLocality    = discovery.Locality{Region: "us-west1", Zone: "us-west1-a"}
	centralLocality = discovery.Locality{Region: "us-central1", Zone: "us-central1-a"}
	eastLocality    = discovery.Locality{Region: "us-east1", Zone: "us-east1-b"}
)

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func gateway(port uint16, list ...string) discovery.Gateway {
	return discovery.Gateway{Addresses: addrs(list...), Port: port, Kind: discovery.GatewayStatic}
}

func cluster(name string, l discovery.Locality, gateways ...discovery.Gateway) *discovery.Cluster {
	c := &discovery.Cluster{Name: name, UID: name, Locality: l}
	if len(gateways) > 0 {
		c.GatewaySets = []discovery.GatewaySet{{Name: discovery.DefaultGatewaySet, Gateways: gateways}}
	}
	return c
}

// service is a ClusterIP service with one TCP port "http" 80.
func service(namespace, name string, ready, total uint32, ips ...string) *discovery.Service {
	return &discovery.Service{
		Namespace: namespace, Name: name, Kind: discovery.KindClusterIP,
		Ports:      []discovery.Port{{Name: "http", Protocol: discovery.TCP, Port: 80}},
		ClusterIPs: addrs(ips...),
		Counts:     []discovery.ZoneCount{{Ready: ready, Total: total}},
	}
}

func apply(t testing.TB, table *discovery.Table, c *discovery.Cluster, seq uint64, services ...*discovery.Service) {
	t.Helper()
	require.NoError(t, c.Validate())
	for _, s := range services {
		require.NoError(t, s.Validate())
	}
	table.Apply(c.Name, discovery.Update{Cluster: c, Whole: true, Services: services}, discovery.Version{Epoch: 1, Seq: seq})
}

// demoTable is the demo's three clusters as far as names go.
func demoTable(t testing.TB) *discovery.Table {
	table := discovery.NewTable()
	orders := service("production", "orders", 2, 3)
	orders.Kind = discovery.KindHeadless
	orders.Endpoints = []discovery.Endpoint{
		{Addr: netip.MustParseAddr("10.1.9.1"), Hostname: "orders-0", Ready: true},
		{Addr: netip.MustParseAddr("10.1.9.2"), Hostname: "orders-1", Ready: true},
		{Addr: netip.MustParseAddr("10.1.9.3"), Hostname: "orders-2"},
	}
	user := service("production", "user-service", 2, 2, "10.1.0.1", "fd00:1::1")
	user.Aliases = []string{"users.global", "api.v1.users-api.global", "www.shop.example"}
	apply(t, table, cluster("west", westLocality, gateway(15443, "127.1.0.10")), 5,
		user, orders, service("production", "down", 0, 2, "10.1.0.9"))
	apply(t, table, cluster("central", centralLocality, gateway(15443, "127.2.0.10")), 6,
		service("production", "user-service", 3, 3, "10.2.0.1"),
		service("production", "payment-service", 3, 4, "10.2.0.2"))
	apollo := service("apollo", "apollo-configservice", 1, 1, "10.3.0.3")
	apollo.Ports[0].Gateway = 30880
	apollo.Gateways = []discovery.Gateway{{Addresses: addrs("127.3.0.10"), Kind: discovery.GatewayNodePort}}
	apply(t, table, cluster("east", eastLocality, gateway(15443, "127.3.0.10")), 7,
		service("production", "user-service", 3, 3, "10.3.0.1"),
		service("production", "payment-service", 2, 2, "10.3.0.2"), apollo)
	table.SetLoaded()
	return table
}

// newLink makes a link with a table, looked at from west.
func newLink(table *discovery.Table) *fakeLink {
	l := &fakeLink{table: table}
	l.view.Store(&View{Cluster: "west", Locality: westLocality})
	return l
}

// newPlugin makes a stanza for global. with seeded choices.
func newPlugin(l link) *Isthmus {
	names := newResolver(l.Table(), nil, newLogger())
	return &Isthmus{
		zones:   zones{newZone("global.")},
		ttl:     defaultTTL,
		view:    &viewpoint{link: l, names: names, outlook: newOutlook(l, newLogger())},
		metrics: newMetrics(prometheus.NewRegistry(), newRegistry(linger)),
		random:  rand.New(rand.NewPCG(1, 2)).Uint64, // not for concurrent use
		server:  serverAddrs(addrs("192.0.2.53", "2001:db8::53")),
	}
}

// ask returns the reply, nil if the plugin left writing it to CoreDNS, and the
// plugin's return value.
func ask(t testing.TB, p *Isthmus, m *dns.Msg) (*dns.Msg, int) {
	t.Helper()
	w := dnstest.NewRecorder(&test.ResponseWriter{})
	rcode, err := p.ServeDNS(context.Background(), w, m)
	require.NoError(t, err)
	return w.Msg, rcode
}

func question(name string, qtype uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(name, qtype)
}
