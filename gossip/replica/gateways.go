package replica

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
)

// GatewayAddress is one address of another cluster's gateway, and how it is
// checked.
type GatewayAddress struct {
	netip.AddrPort
	Check discovery.Check
}

// plain is the address in the form in which states are kept: a record may write
// an IPv4 address as IPv6, and leave the check to its default.
func (a GatewayAddress) plain() GatewayAddress {
	if a.Check == 0 {
		a.Check = discovery.CheckTCP
	}
	a.AddrPort = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	return a
}

func (a GatewayAddress) compare(b GatewayAddress) int {
	return cmp.Or(a.AddrPort.Compare(b.AddrPort), cmp.Compare(a.Check, b.Check))
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
	return g.clusters[cluster][at.plain()]
}

// Len is the number of addresses of which something is known.
func (g *GatewayStates) Len() (n int) {
	if g == nil {
		return 0
	}
	for _, states := range g.clusters {
		n += len(states)
	}
	return n
}

const (
	// maxGatewaysOfCluster and maxGateways bound the addresses that are told of,
	// and taken: four times what a prober checks (probe.DefaultLimits). All of
	// them take 0.6 MiB of a message, which may have 1 MiB.
	maxGatewaysOfCluster = 1024
	maxGateways          = 16 << 10
	// gatewaysStay is how long results are taken for the present when nobody
	// goes on with them: no watcher of the cluster checks, or an agent has no
	// watcher. Then they say nothing any more, and gateways are unknown again.
	// It is long because the two mistakes differ: to leave a gateway out that
	// is back costs distance as long as others are up; to answer with one that
	// is still gone costs connections. Most watchers are back sooner.
	gatewaysStay = 15 * time.Minute
)

// bounded is a copy in the form that is told and kept: without what is not
// known, and within the limits. What is left out is so in the same way each
// time: the clusters that sort last, and a cluster's last addresses.
func (g *GatewayStates) bounded(limits Limits) (kept *GatewayStates, leftOut int) {
	kept = &GatewayStates{clusters: map[string]map[GatewayAddress]GatewayState{}}
	total := 0
	for _, cluster := range slices.Sorted(maps.Keys(g.clusters)) {
		states := known(g.clusters[cluster])
		leftOut += cut(states, maxGatewaysOfCluster)
		if len(kept.clusters) == limits.Clusters {
			leftOut += cut(states, 0)
		}
		leftOut += cut(states, maxGateways-total)
		if len(states) > 0 {
			kept.clusters[cluster] = states
			total += len(states)
		}
	}
	return kept, leftOut
}

func known(states map[GatewayAddress]GatewayState) map[GatewayAddress]GatewayState {
	out := make(map[GatewayAddress]GatewayState, len(states))
	for at, s := range states {
		if s.Known {
			out[at.plain()] = s
		}
	}
	return out
}

// cut leaves the first n addresses, and returns how many it took away.
func cut(states map[GatewayAddress]GatewayState, n int) int {
	if len(states) <= n {
		return 0
	}
	over := slices.SortedFunc(maps.Keys(states), GatewayAddress.compare)[n:]
	for _, at := range over {
		delete(states, at)
	}
	return len(over)
}

// equal tells whether two say the same, nil nothing.
func (g *GatewayStates) equal(o *GatewayStates) bool {
	if g == nil || o == nil {
		return g == o
	}
	return maps.EqualFunc(g.clusters, o.clusters, maps.Equal[map[GatewayAddress]GatewayState])
}

// Or is g, and what it doesn't know as another one has it.
func (g *GatewayStates) Or(o *GatewayStates) *GatewayStates {
	if g == nil || o == nil {
		return cmp.Or(g, o)
	}
	both := maps.Clone(g.clusters)
	if both == nil {
		both = map[string]map[GatewayAddress]GatewayState{}
	}
	for cluster, states := range o.clusters {
		of := maps.Clone(states)
		for at, s := range both[cluster] {
			if s.Known || !of[at].Known {
				of[at] = s
			}
		}
		both[cluster] = of
	}
	return &GatewayStates{clusters: both}
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
