package isthmus

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// checked is what checks from our cluster say of gateways together: down when
// all of their addresses are, up when any is. Time and band are those of the
// nearest address that is not down, if there is one.
type checked struct {
	gateway locality.Gateway
	band    locality.Band
	rtt     time.Duration
}

// ask takes up what is known of a gateway's addresses at the port where it is
// checked for a service, or for itself.
func (f *facts) ask(g *foundGateway, cluster string, port uint16) {
	at := replica.GatewayAddress{Check: cmp.Or(g.Check, discovery.CheckTCP)}
	var alive, dead checked
	for _, addr := range g.addrs {
		at.AddrPort = netip.AddrPortFrom(addr.Unmap(), port)
		state := f.gateways.State(cluster, at)
		one := checked{rtt: state.RTT, band: f.bands[cluster][at]}
		switch {
		case !state.Known:
			alive.join(one)
		case state.Up:
			one.gateway = locality.GatewayUp
			alive.join(one)
		default:
			one.gateway = locality.GatewayDown
			dead.join(one)
			g.down = append(g.down, addr)
		}
	}
	g.checked = alive
	if len(g.addrs) > 0 && len(g.down) == len(g.addrs) {
		g.checked = dead
	}
}

// join adds what is known of another address, of the same kind: one that is up or
// unknown, or one that is down.
func (c *checked) join(o checked) {
	if o.gateway != locality.GatewayUnknown {
		c.gateway = o.gateway
	}
	if o.rtt > 0 && (c.rtt == 0 || o.rtt < c.rtt) {
		c.rtt = o.rtt
	}
	// The nearest band, which need not be that of the smallest time: bands
	// have a memory. A time lies inside its own band's reach, and the smallest
	// of all inside that of the smallest band.
	if o.band != locality.NoBand && (c.band == locality.NoBand || o.band < c.band) {
		c.band = o.band
	}
}

// together is what is known of several gateways together.
func together(found []foundGateway) checked {
	var alive, dead checked
	left := false
	for i := range found {
		g := &found[i]
		switch {
		case len(g.addrs) == 0:
		case g.gateway == locality.GatewayDown:
			dead.join(g.checked)
		default:
			left = true
			alive.join(g.checked)
		}
	}
	if left {
		return alive
	}
	return dead
}

// standing leaves addresses that are down out of gateways, unless all are: then
// each may be alive as well as any other.
func standing(found []foundGateway) []foundGateway {
	some, all := false, true
	for i := range found {
		some = some || len(found[i].down) > 0
		all = all && len(found[i].down) == len(found[i].addrs)
	}
	if !some {
		return found
	}
	left := slices.Clone(found)
	for i := range left {
		g := &left[i]
		if !all {
			down := g.down
			g.addrs = slices.DeleteFunc(slices.Clone(g.addrs), func(a netip.Addr) bool { return slices.Contains(down, a) })
		}
		g.down = nil
	}
	return left
}
