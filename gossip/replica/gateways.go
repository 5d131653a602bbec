package replica

import (
	"iter"
	"net/netip"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
)

// GatewayAddress is one address of another cluster's gateway, and how it is
// checked.
type GatewayAddress struct {
	netip.AddrPort
	Check discovery.Check
}

// GatewayState is what checks from our cluster found out about an address.
type GatewayState struct {
	Known bool // false: not checked, or not often enough yet
	Up    bool
	RTT   time.Duration // smoothed; 0: not measured
}

// GatewayStates are what is known of the gateways of other clusters. Immutable;
// a change makes a new one. Nil knows nothing.
type GatewayStates struct {
	clusters map[string]map[GatewayAddress]GatewayState
}

// NewGatewayStates takes over what is known of each cluster.
func NewGatewayStates(clusters map[string]map[GatewayAddress]GatewayState) *GatewayStates {
	return &GatewayStates{clusters: clusters}
}

// State is an address's.
func (g *GatewayStates) State(cluster string, at GatewayAddress) GatewayState {
	if g == nil {
		return GatewayState{}
	}
	return g.clusters[cluster][at]
}

// All goes through what is known of all clusters, in no order. The maps must not
// be changed.
func (g *GatewayStates) All() iter.Seq2[string, map[GatewayAddress]GatewayState] {
	return func(yield func(string, map[GatewayAddress]GatewayState) bool) {
		if g == nil {
			return
		}
		for cluster, states := range g.clusters {
			if !yield(cluster, states) {
				return
			}
		}
	}
}
