package scale

import (
	"fmt"
	"net/netip"

	"github.com/isthmus-dns/isthmus/discovery"
)

// record is a cluster's own record: three gateways in its default set.
func record(name string, index int) *discovery.Cluster {
	region := fmt.Sprintf("region-%d", index%8)
	c := &discovery.Cluster{
		Name: name, UID: fmt.Sprintf("6f9619ff-8b86-4d01-b42d-%012d", index),
		Locality: discovery.Locality{Region: region, Zone: region + "-a"},
	}
	set := discovery.GatewaySet{Name: discovery.DefaultGatewaySet}
	for i := range 3 {
		addr := netip.AddrFrom4([4]byte{198, 18, byte(index), byte(i + 1)})
		set.Gateways = append(set.Gateways, discovery.Gateway{
			Addresses: []netip.Addr{addr}, Port: 15443, Kind: discovery.GatewayStatic,
			Zone: fmt.Sprintf("%s-%c", region, 'a'+i), Check: discovery.CheckNone,
		})
	}
	c.GatewaySets = append(c.GatewaySets, set)
	return c
}

func services(index, n int) []*discovery.Service {
	out := make([]*discovery.Service, n)
	for i := range out {
		out[i] = makeService(index, i)
	}
	return out
}

// serviceName: every second service is in all clusters, the others in one.
func serviceName(index, i int) (namespace, name string) {
	namespace = fmt.Sprintf("team-%02d", i%40)
	if i%2 == 0 {
		return namespace, fmt.Sprintf("shared-service-%04d", i)
	}
	return namespace, fmt.Sprintf("service-of-%03d-%04d", index, i)
}

// makeService is a service as most are: two ports, one cluster IP, endpoints
// in three zones; every tenth has an alias. Its record takes about 190 octets.
func makeService(index, i int) *discovery.Service {
	namespace, name := serviceName(index, i)
	region := fmt.Sprintf("region-%d", index%8)
	s := &discovery.Service{
		Namespace: namespace, Name: name, Kind: discovery.KindClusterIP,
		Ports: []discovery.Port{
			{Name: "http", Protocol: discovery.TCP, Port: 8080, Gateway: 30080},
			{Name: "grpc", Protocol: discovery.TCP, Port: 9090, Gateway: 30090},
		},
		ClusterIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})},
		GatewaySet: discovery.DefaultGatewaySet, Weight: 100, ExportedAt: 1_760_000_000 + int64(i),
	}
	for z := range 3 {
		s.Counts = append(s.Counts, discovery.ZoneCount{Zone: fmt.Sprintf("%s-%c", region, 'a'+z), Ready: 2, Total: 4})
	}
	if i%10 == 1 {
		s.Aliases = []string{fmt.Sprintf("%s.%s.internal.example.com", name, namespace)}
	}
	return s
}
