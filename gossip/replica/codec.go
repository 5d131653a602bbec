package replica

import (
	"errors"
	"fmt"
	"net/netip"

	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// deterministic makes equal records encode equally within one build, so that
// an unchanged record is not published again. Receivers never encode records.
var deterministic = proto.MarshalOptions{Deterministic: true}

func encodeService(s *discovery.Service) ([]byte, error) {
	w := &wire.Service{
		Namespace: s.Namespace, Name: s.Name, Kind: uint32(s.Kind),
		ClusterIps: encodeAddrs(s.ClusterIPs), GatewaySet: s.GatewaySet,
		Gateways: encodeGateways(s.Gateways), Weight: s.Weight, Aliases: s.Aliases,
		ClientAffinity: s.ClientAffinity, ExportedAt: s.ExportedAt,
	}
	for _, p := range s.Ports {
		w.Ports = append(w.Ports, &wire.Port{Name: p.Name, Protocol: uint32(p.Protocol), Port: uint32(p.Port), Gateway: uint32(p.Gateway)})
	}
	for _, c := range s.Counts {
		w.Counts = append(w.Counts, &wire.ZoneCount{Zone: c.Zone, Ready: c.Ready, Total: c.Total})
	}
	for _, e := range s.Endpoints {
		w.Endpoints = append(w.Endpoints, &wire.Endpoint{Addr: e.Addr.AsSlice(), Hostname: e.Hostname, Zone: e.Zone, Ready: e.Ready})
	}
	return deterministic.Marshal(w)
}

func encodeCluster(c *discovery.Cluster) ([]byte, error) {
	w := &wire.Cluster{
		Name: c.Name, Uid: c.UID, Network: c.Network, Locality: encodeLocality(c.Locality),
		PodCidrs: encodePrefixes(c.PodCIDRs), ServiceCidrs: encodePrefixes(c.ServiceCIDRs),
	}
	for _, g := range c.GatewaySets {
		w.GatewaySets = append(w.GatewaySets, &wire.GatewaySet{Name: g.Name, Gateways: encodeGateways(g.Gateways)})
	}
	return deterministic.Marshal(w)
}

func encodeLocality(l discovery.Locality) *wire.Locality {
	return &wire.Locality{Region: l.Region, Zone: l.Zone, Subzone: l.Subzone}
}

func encodeGateways(gateways []discovery.Gateway) []*wire.Gateway {
	var out []*wire.Gateway
	for _, g := range gateways {
		out = append(out, &wire.Gateway{
			Addresses: encodeAddrs(g.Addresses), Hostname: g.Hostname, Port: uint32(g.Port),
			Kind: uint32(g.Kind), Zone: g.Zone, Weight: g.Weight, Check: uint32(g.Check),
		})
	}
	return out
}

func encodeAddrs(addrs []netip.Addr) [][]byte {
	var out [][]byte
	for _, a := range addrs {
		out = append(out, a.AsSlice())
	}
	return out
}

func encodePrefixes(prefixes []netip.Prefix) [][]byte {
	var out [][]byte
	for _, p := range prefixes {
		out = append(out, append(p.Addr().AsSlice(), byte(p.Bits())))
	}
	return out
}

// decodeService reads and checks a service's record. The record must be about
// the service that its key names. Its lists may be those of other services too:
// they must not be changed.
func decodeService(key discovery.Key, value []byte) (*discovery.Service, error) {
	w := &wire.Service{}
	if err := proto.Unmarshal(value, w); err != nil {
		return nil, fmt.Errorf("service record: %w", err)
	}
	d := decoder{}
	s := &discovery.Service{
		Namespace: common.text(w.Namespace), Name: w.Name, Kind: discovery.Kind(d.small(w.Kind)),
		Ports: d.ports(w.Ports), ClusterIPs: d.addrs(w.ClusterIps), Counts: decodeCounts(w.Counts),
		GatewaySet: common.text(w.GatewaySet), Gateways: d.gateways(w.Gateways),
		Weight: w.Weight, Aliases: w.Aliases, ClientAffinity: w.ClientAffinity, ExportedAt: w.ExportedAt,
	}
	if n := len(w.Endpoints); n > 0 {
		s.Endpoints = make([]discovery.Endpoint, 0, n)
	}
	for _, e := range w.Endpoints {
		s.Endpoints = append(s.Endpoints, discovery.Endpoint{Addr: d.addr(e.GetAddr()), Hostname: e.GetHostname(), Zone: common.text(e.GetZone()), Ready: e.GetReady()})
	}
	if d.err != nil {
		return nil, d.err
	}
	if s.Key() != key {
		return nil, fmt.Errorf("service record: is about %q", s.Key())
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	// Not before: a broken list must not stand for another cluster's, nor be kept.
	s.Ports, s.Counts = common.portList(s.Ports), common.countList(s.Counts)
	return s, nil
}

// decodeCluster reads and checks a cluster's own record.
func decodeCluster(name string, value []byte) (*discovery.Cluster, error) {
	w := &wire.Cluster{}
	if err := proto.Unmarshal(value, w); err != nil {
		return nil, fmt.Errorf("cluster record: %w", err)
	}
	d := decoder{}
	c := &discovery.Cluster{
		Name: w.Name, UID: w.Uid, Network: w.Network, Locality: decodeLocality(w.Locality),
		PodCIDRs: d.prefixes(w.PodCidrs), ServiceCIDRs: d.prefixes(w.ServiceCidrs),
	}
	for _, g := range w.GatewaySets {
		c.GatewaySets = append(c.GatewaySets, discovery.GatewaySet{Name: g.GetName(), Gateways: d.gateways(g.GetGateways())})
	}
	if d.err != nil {
		return nil, d.err
	}
	if c.Name != name {
		return nil, fmt.Errorf("cluster record: is about %q", c.Name)
	}
	return c, c.Validate()
}

func decodeLocality(w *wire.Locality) discovery.Locality {
	return discovery.Locality{Region: w.GetRegion(), Zone: w.GetZone(), Subzone: w.GetSubzone()}
}

// decoder keeps the first error, so that what is read can be one literal.
type decoder struct{ err error }

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = errors.New("record: " + what)
	}
}

func (d *decoder) small(n uint32) uint8 {
	if n > 255 {
		d.fail("number out of range")
	}
	return uint8(n)
}

func (d *decoder) port(n uint32) uint16 {
	if n > 65535 {
		d.fail("port out of range")
	}
	return uint16(n)
}

func (d *decoder) addr(b []byte) netip.Addr {
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		d.fail("address of a wrong length")
	}
	return a
}

func (d *decoder) ports(in []*wire.Port) []discovery.Port {
	if len(in) == 0 {
		return nil
	}
	out := make([]discovery.Port, 0, len(in))
	for _, p := range in {
		out = append(out, discovery.Port{
			Name: common.text(p.GetName()), Protocol: discovery.Protocol(d.small(p.GetProtocol())),
			Port: d.port(p.GetPort()), Gateway: d.port(p.GetGateway()),
		})
	}
	return out
}

func decodeCounts(in []*wire.ZoneCount) []discovery.ZoneCount {
	if len(in) == 0 {
		return nil
	}
	out := make([]discovery.ZoneCount, 0, len(in))
	for _, c := range in {
		out = append(out, discovery.ZoneCount{Zone: common.text(c.GetZone()), Ready: c.GetReady(), Total: c.GetTotal()})
	}
	return out
}

func (d *decoder) addrs(in [][]byte) []netip.Addr {
	if len(in) == 0 {
		return nil
	}
	out := make([]netip.Addr, 0, len(in))
	for _, b := range in {
		out = append(out, d.addr(b))
	}
	return out
}

func (d *decoder) prefixes(in [][]byte) []netip.Prefix {
	var out []netip.Prefix
	for _, b := range in {
		if len(b) == 0 {
			d.fail("empty prefix")
			continue
		}
		p := netip.PrefixFrom(d.addr(b[:len(b)-1]), int(b[len(b)-1]))
		if !p.IsValid() {
			d.fail("prefix is not valid")
		}
		out = append(out, p)
	}
	return out
}

// knownCheck is a gateway's check as far as we can make it: one that a later
// version has brought is none. Then nothing speaks against the gateway, while a
// record that is refused would take all of the cluster's gateways away.
func knownCheck(n uint32) discovery.Check {
	if n > uint32(discovery.CheckNone) {
		return discovery.CheckNone
	}
	return discovery.Check(n)
}

func (d *decoder) gateways(in []*wire.Gateway) []discovery.Gateway {
	var out []discovery.Gateway
	for _, g := range in {
		out = append(out, discovery.Gateway{
			Addresses: d.addrs(g.GetAddresses()), Hostname: g.GetHostname(), Port: d.port(g.GetPort()),
			Kind: discovery.GatewayKind(d.small(g.GetKind())), Zone: g.GetZone(), Weight: g.GetWeight(), Check: knownCheck(g.GetCheck()),
		})
	}
	return out
}
