package replica

import (
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// encode is all that is known, in one message.
func (g *GatewayStates) encode() *wire.GatewayStates {
	w := &wire.GatewayStates{Whole: true}
	for cluster, states := range g.clusters {
		w.Clusters = append(w.Clusters, encodeGatewayStates(cluster, states))
	}
	return w
}

// after is what leads from an older one here: the clusters that differ. Nil if
// none does.
func (g *GatewayStates) after(old *GatewayStates) *wire.GatewayStates {
	var changed []*wire.ClusterGateways
	for cluster, states := range g.clusters {
		if !maps.Equal(states, old.clusters[cluster]) {
			changed = append(changed, encodeGatewayStates(cluster, states))
		}
	}
	for cluster := range old.clusters {
		if _, there := g.clusters[cluster]; !there {
			changed = append(changed, &wire.ClusterGateways{Cluster: cluster})
		}
	}
	if changed == nil {
		return nil
	}
	return &wire.GatewayStates{Clusters: changed}
}

func encodeGatewayStates(cluster string, states map[GatewayAddress]GatewayState) *wire.ClusterGateways {
	w := &wire.ClusterGateways{Cluster: cluster, States: make([]*wire.GatewayState, 0, len(states))}
	for at, s := range states {
		w.States = append(w.States, &wire.GatewayState{
			Addr: at.Addr().AsSlice(), Port: uint32(at.Port()), Check: uint32(at.Check), Up: s.Up, RttMicros: micros(s.RTT),
		})
	}
	return w
}

// maxGatewayRTT is more than any connection takes: a check's timeout bounds it.
const maxGatewayRTT = time.Hour

// micros rounds up: 0 is not measured.
func micros(d time.Duration) uint32 {
	return uint32((min(max(d, 0), maxGatewayRTT) + time.Microsecond - 1) / time.Microsecond)
}

// with is g after a message, the very g if that says nothing new. A message with
// a mistake changes nothing: its sender is broken, and what it left out of which
// cluster can't be told.
func (g *GatewayStates) with(w *wire.GatewayStates, limits Limits) (*GatewayStates, error) {
	// The sender's own bounds hold a message to these lengths, before it costs
	// anything.
	if len(w.GetClusters()) > 2*limits.Clusters { // as many may go as come
		return nil, fmt.Errorf("gateways: %d clusters: %w", len(w.GetClusters()), errTooLarge)
	}
	next := &GatewayStates{clusters: map[string]map[GatewayAddress]GatewayState{}}
	if g != nil && !w.GetWhole() {
		maps.Copy(next.clusters, g.clusters)
	}
	named := make(map[string]bool, len(w.GetClusters()))
	for _, c := range w.GetClusters() {
		name := c.GetCluster()
		if discovery.ValidLabel(name) != nil || named[name] {
			return nil, fmt.Errorf("gateways: cluster %q: %w", clip(name), errMalformedGateways)
		}
		named[name] = true
		states, err := decodeGatewayStates(c)
		if err != nil {
			return nil, err
		}
		next.clusters[name] = states
		if len(states) == 0 {
			delete(next.clusters, name)
		}
	}
	switch {
	case len(next.clusters) > limits.Clusters || next.Len() > maxGateways:
		return nil, fmt.Errorf("gateways: %d addresses of %d clusters: %w", next.Len(), len(next.clusters), errTooLarge)
	case g.equal(next):
		return g, nil
	}
	return next, nil
}

// errMalformedGateways has the counter of all that is malformed.
var errMalformedGateways = fmt.Errorf("gateway states are not well formed: %w", errMalformed)

// decodeGatewayStates leaves out checks that this version does not know.
func decodeGatewayStates(c *wire.ClusterGateways) (map[GatewayAddress]GatewayState, error) {
	if len(c.GetStates()) > maxGatewaysOfCluster {
		return nil, fmt.Errorf("gateways: %d addresses of %s: %w", len(c.GetStates()), c.GetCluster(), errTooLarge)
	}
	states := make(map[GatewayAddress]GatewayState, len(c.GetStates()))
	for _, s := range c.GetStates() {
		addr, ok := netip.AddrFromSlice(s.GetAddr())
		if !ok || addr.Is4In6() || s.GetPort() == 0 || s.GetPort() > 65535 || s.GetCheck() == 0 {
			return nil, fmt.Errorf("gateways: an address of %s: %w", c.GetCluster(), errMalformedGateways)
		}
		if s.GetCheck() > uint32(discovery.CheckHTTP) {
			continue
		}
		at := GatewayAddress{AddrPort: netip.AddrPortFrom(addr, uint16(s.GetPort())), Check: discovery.Check(s.GetCheck())}
		if _, there := states[at]; there {
			return nil, fmt.Errorf("gateways: %v of %s twice: %w", at.AddrPort, c.GetCluster(), errMalformedGateways)
		}
		rtt := min(time.Duration(s.GetRttMicros())*time.Microsecond, maxGatewayRTT)
		states[at] = GatewayState{Known: true, Up: s.GetUp(), RTT: rtt}
	}
	return states, nil
}
