package isthmus

import (
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// bands are the latency bands of gateways' addresses, by cluster; of those that
// were measured. Each address has its own, since the nearest one of a cluster
// may change with every measurement.
type bands map[string]map[replica.GatewayAddress]locality.Band

// next are the bands after these, with new round-trip times, and whether any moved:
// mostly none has, and then nothing is made.
func (b bands) next(states *replica.GatewayStates) (next bands, moved bool) {
	next = make(bands, len(b))
	for cluster, of := range states.All() {
		now, same := advance(b[cluster], of)
		moved = moved || !same
		if len(now) > 0 {
			next[cluster] = now
		}
	}
	if !moved && len(next) == len(b) {
		return b, false
	}
	return next, true
}

// advance are the next bands of one cluster's addresses; same tells that they are
// the old ones.
func advance(old map[replica.GatewayAddress]locality.Band, of map[replica.GatewayAddress]replica.GatewayState) (now map[replica.GatewayAddress]locality.Band, same bool) {
	measured := 0
	same = true
	for at, state := range of {
		before := old[at]
		band := locality.NextBand(before, state.RTT)
		same = same && band == before
		if band != locality.NoBand {
			measured++
		}
	}
	if same && measured == len(old) {
		return old, true
	}
	now = make(map[replica.GatewayAddress]locality.Band, measured)
	for at, state := range of {
		if band := locality.NextBand(old[at], state.RTT); band != locality.NoBand {
			now[at] = band
		}
	}
	return now, false
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
