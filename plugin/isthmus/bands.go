package isthmus

import (
	"maps"

	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// bands are the latency bands of gateways' addresses, by cluster; of those that
// were measured. Each address has its own, since the nearest one of a cluster
// may change with every measurement.
type bands map[string]map[replica.GatewayAddress]locality.Band

// next are the bands after these, with new round-trip times.
func (b bands) next(states *replica.GatewayStates) bands {
	next := bands{}
	for cluster, of := range states.All() {
		old := b[cluster]
		var moved map[replica.GatewayAddress]locality.Band
		for at, state := range of {
			if band := locality.NextBand(old[at], state.RTT); band != locality.NoBand {
				if moved == nil {
					moved = make(map[replica.GatewayAddress]locality.Band, len(of))
				}
				moved[at] = band
			}
		}
		if moved != nil {
			next[cluster] = moved
		}
	}
	return next
}

func (b bands) equal(o bands) bool {
	return maps.EqualFunc(b, o, maps.Equal)
}

// sameStates tells whether what is up and what is down is the same.
func sameStates(a, b *replica.GatewayStates) bool {
	return countStates(a) == countStates(b) && agree(a, b)
}

// agree tells whether all that a knows is as b knows it.
func agree(a, b *replica.GatewayStates) bool {
	for cluster, of := range a.All() {
		for at, state := range of {
			if o := b.State(cluster, at); o.Known != state.Known || o.Up != state.Up {
				return false
			}
		}
	}
	return true
}

// countStates is the number of addresses that are known.
func countStates(g *replica.GatewayStates) (n int) {
	for _, of := range g.All() {
		for _, state := range of {
			if state.Known {
				n++
			}
		}
	}
	return n
}
