package conform

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
)

// Model is a clusterset's table, and where it is looked at from.
type Model struct {
	Viewer   replica.View
	Clusters []Cluster
}

// Cluster is one cluster's part.
type Cluster struct {
	Record   *discovery.Cluster
	Services []*discovery.Service
}

// Edges is how many small clusters there are, and so how many SRV records the
// service everywhere.fleet has.
const Edges = 40

// Many is how many addresses the gateways of the set "many" have together.
const Many = 40

// NewModel makes the table that all tests here share: some services by hand,
// each for a rule, and two hundred by chance from a fixed seed, for rules that
// nobody thought of.
func NewModel() *Model {
	m := &Model{
		Viewer: replica.View{Cluster: "west", Network: "blue", Locality: at("us-west1", "us-west1-a")},
		Clusters: []Cluster{
			{Record: record("west", "blue", at("us-west1", "us-west1-a"), set("default", gateway(443, "192.0.2.1")))},
			{Record: record("near", "", at("us-west1", "us-west1-a"), set("default", gateway(15443, "198.51.100.1")))},
			{Record: record("twin", "blue", at("us-west1", "us-west1-b"), set("default", gateway(443, "198.51.100.2")))},
			{Record: record("central", "", at("us-central1", "us-central1-a"),
				set("default", gateway(15443, "198.51.100.3", "2001:db8:3::1")),
				set("six", gateway(0, "2001:db8:3::6")))},
			{Record: record("east", "", at("us-east1", "us-east1-b"),
				set("default", weighted(gateway(8443, "198.51.100.4"), 1), weighted(gateway(9443, "198.51.100.5", "2001:db8:4::5"), 3)),
				set("many", many()...))},
			{Record: record("island", "", at("us-east1", "us-east1-c"))},
			{Record: record("liar", "", at("us-west1", "us-west1-a"), set("default", gateway(80, "127.0.0.9", "169.254.169.254")))},
		},
	}
	m.byHand()
	m.byChance(rand.New(rand.NewPCG(4, 1)), 200)
	for i := range Edges {
		name := fmt.Sprintf("edge-%02d", i)
		m.Clusters = append(m.Clusters, Cluster{
			Record: record(name, "", at("edge", name), set("default", gateway(443, fmt.Sprintf("203.0.113.%d", i+1)))),
			Services: []*discovery.Service{
				service("fleet", "everywhere", 1+uint32(i%3), port("https", discovery.TCP, 443)),
			},
		})
	}
	return m
}

func at(region, zone string) discovery.Locality {
	return discovery.Locality{Region: region, Zone: zone}
}

func record(name, network string, where discovery.Locality, sets ...discovery.GatewaySet) *discovery.Cluster {
	return &discovery.Cluster{Name: name, UID: "uid-" + name, Network: network, Locality: where, GatewaySets: sets}
}

func set(name string, gateways ...discovery.Gateway) discovery.GatewaySet {
	return discovery.GatewaySet{Name: name, Gateways: gateways}
}

func gateway(port uint16, addrs ...string) discovery.Gateway {
	return discovery.Gateway{Addresses: addresses(addrs...), Port: port, Kind: discovery.GatewayStatic, Check: discovery.CheckNone}
}

func weighted(g discovery.Gateway, weight uint32) discovery.Gateway {
	g.Weight = weight
	return g
}

func many() []discovery.Gateway {
	var all []discovery.Gateway
	for i := range Many {
		all = append(all, gateway(443, fmt.Sprintf("198.18.0.%d", i+1)))
	}
	return all
}

func addresses(list ...string) []netip.Addr {
	var all []netip.Addr
	for _, s := range list {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func port(name string, protocol discovery.Protocol, number uint16) discovery.Port {
	return discovery.Port{Name: name, Protocol: protocol, Port: number}
}

// service has a cluster IP that no other service of the namespace has.
func service(namespace, name string, ready uint32, ports ...discovery.Port) *discovery.Service {
	ip := netip.AddrFrom4([4]byte{10, byte(len(namespace)), byte(len(name)), name[len(name)-1]})
	return &discovery.Service{
		Namespace: namespace, Name: name, Kind: discovery.KindClusterIP, Ports: ports, ClusterIPs: []netip.Addr{ip},
		Counts: []discovery.ZoneCount{{Ready: ready, Total: ready + 1}}, ExportedAt: 1_700_000_000,
	}
}

// headless has one endpoint for each host; "-" before it means not ready.
func headless(namespace, name string, hosts ...string) *discovery.Service {
	s := service(namespace, name, 0, port("db", discovery.TCP, 5432))
	s.Kind, s.ClusterIPs, s.Counts[0].Total = discovery.KindHeadless, nil, uint32(len(hosts))
	for i, host := range hosts {
		e := discovery.Endpoint{Addr: netip.AddrFrom4([4]byte{10, 200, byte(len(name)), byte(i + 1)}), Hostname: host, Ready: true}
		if host[0] == '-' {
			e.Hostname, e.Ready = host[1:], false
		} else {
			s.Counts[0].Ready++
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

func (m *Model) add(cluster string, services ...*discovery.Service) {
	i := slices.IndexFunc(m.Clusters, func(c Cluster) bool { return c.Record.Name == cluster })
	m.Clusters[i].Services = append(m.Clusters[i].Services, services...)
}

// with changes a service that was just made.
func with(s *discovery.Service, change func(*discovery.Service)) *discovery.Service {
	change(s)
	return s
}

func (m *Model) byHand() {
	web := port("http", discovery.TCP, 80)
	dns := []discovery.Port{port("dns", discovery.UDP, 53), port("dns-tcp", discovery.TCP, 53)}
	six := func(s *discovery.Service) { s.GatewaySet = "six" }

	m.add("west",
		with(service("shop", "user", 2, web), func(s *discovery.Service) {
			s.ClusterIPs = append(s.ClusterIPs, addresses("fd00:1::1")...)
			s.Aliases = []string{"users.global", "api.v1.users-api.global", "www.shop.example", "user.shop.internal.example"}
		}),
		service("shop", "only-v4", 1, web),
		service("shop", "down", 0, web),
		headless("shop", "orders", "orders-0", "orders-1", "-orders-2"),
		// The names that have a meaning of their own are namespaces, too.
		service("dns", "resolver", 1, dns...),
		service("dns-version", "app", 1, web),
		service("west", "west", 1, web), // a cluster's, a namespace's and a service's name
	)
	m.add("near", service("shop", "user", 5, web), service("shop", "neighbour", 3, web),
		headless("shop", "orders", "orders-0", "orders-9"))
	m.add("twin", with(service("shop", "pods", 2, web), func(s *discovery.Service) {
		s.Endpoints = []discovery.Endpoint{{Addr: netip.MustParseAddr("10.77.0.1"), Ready: true}, {Addr: netip.MustParseAddr("10.77.0.2"), Ready: true}, {Addr: netip.MustParseAddr("10.77.0.3")}}
		s.Counts[0] = discovery.ZoneCount{Ready: 2, Total: 3}
	}), headless("shop", "ledger", "ledger-0", "-ledger-1"))
	m.add("central",
		service("shop", "pay", 3, web, port("metrics", discovery.TCP, 9090)),
		with(service("shop", "new", 2, web), six),
		with(service("shop", "only-v4", 4, web), six), // must not draw west's clients away
		service("shop", "neighbour", 2, web),
		service("west", "west", 1, web),
		with(service("shop", "claimed", 1, web), func(s *discovery.Service) { s.Aliases, s.ExportedAt = []string{"claim.global"}, 1_600_000_000 }),
		with(service("shop", "late", 1, web), func(s *discovery.Service) { s.Aliases = []string{"claim.global"} }))
	m.add("east",
		service("shop", "pay", 2, web),
		service("shop", "scaled", 7, port("", discovery.TCP, 70)), // a single port needs no name
		with(service("shop", "wide", 2, port("https", discovery.TCP, 443)), func(s *discovery.Service) { s.GatewaySet = "many" }),
		with(service("apollo", "config", 1, web), func(s *discovery.Service) {
			s.Ports[0].Gateway = 30880
			s.Gateways = []discovery.Gateway{{Addresses: addresses("198.51.100.77"), Kind: discovery.GatewayNodePort, Check: discovery.CheckNone}}
		}),
		// Two ports at gateways that listen on different ones, and web ports.
		service("shop", "web", 3, web, port("https", discovery.TCP, 8443)),
		with(service("shop", "secure", 2, port("https-admin", discovery.TCP, 9443), port("tls", discovery.TCP, 443)), func(s *discovery.Service) { s.Ports[1].Gateway = 30443 }),
		with(service("apollo", "ports", 1, port("a", discovery.TCP, 1), port("b", discovery.UDP, 2), port("c", discovery.SCTP, 3)),
			func(s *discovery.Service) { s.Ports[0].Gateway, s.Ports[1].Gateway = 31000, 31000 }))
	m.add("island", service("shop", "cut-off", 2, web), headless("shop", "stranded", "stranded-0"))
	m.add("liar", service("shop", "bait", 2, web), service("shop", "user", 9, web))
}

// byChance exports services with random traits from random clusters.
func (m *Model) byChance(r *rand.Rand, n int) {
	for i := range n {
		namespace, name := fmt.Sprintf("team-%d", i%9), fmt.Sprintf("svc-%03d", i)
		for c := range m.Clusters {
			if r.IntN(3) != 0 {
				continue
			}
			s := chance(r, namespace, name)
			if m.Clusters[c].Record.Name == "central" && r.IntN(3) == 0 {
				s.GatewaySet = "six"
			}
			m.Clusters[c].Services = append(m.Clusters[c].Services, s)
		}
	}
}

func chance(r *rand.Rand, namespace, name string) *discovery.Service {
	var s *discovery.Service
	if r.IntN(4) == 0 {
		var hosts []string
		for h := range r.IntN(4) {
			hosts = append(hosts, []string{"", "-"}[r.IntN(2)]+fmt.Sprintf("%s-%d", name, h))
		}
		s = headless(namespace, name, hosts...)
	} else {
		s = service(namespace, name, uint32(r.IntN(4)))
		s.ClusterIPs = []netip.Addr{netip.AddrFrom4([4]byte{10, 96, byte(r.IntN(256)), byte(1 + r.IntN(250))})}
		if r.IntN(3) == 0 {
			s.ClusterIPs = append(s.ClusterIPs, netip.MustParseAddr(fmt.Sprintf("fd00:96::%x", 1+r.IntN(60000))))
		}
		for _, p := range []discovery.Port{
			port("http", discovery.TCP, 80), port("grpc", discovery.TCP, 9000), port("dns", discovery.UDP, 53), port("m3ua", discovery.SCTP, 2905),
		} {
			if r.IntN(2) == 0 {
				p.Gateway = []uint16{0, uint16(30000 + r.IntN(5))}[r.IntN(2)]
				s.Ports = append(s.Ports, p)
			}
		}
	}
	s.Weight = []uint32{0, 1, 5}[r.IntN(3)]
	if r.IntN(6) == 0 {
		s.Gateways = []discovery.Gateway{gateway([]uint16{0, 444}[r.IntN(2)], fmt.Sprintf("198.19.%d.%d", r.IntN(256), 1+r.IntN(250)))}
	}
	if r.IntN(5) == 0 {
		s.Aliases = []string{[]string{name + ".alias.global", name + ".global", name + ".shop.example", "deep.er." + name + ".shop.example"}[r.IntN(4)]}
	}
	return s
}
