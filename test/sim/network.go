package sim

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Link is how every pair of watchers is connected.
type Link struct {
	Delay  time.Duration // one way
	Jitter time.Duration // added to Delay, evenly from 0: packets overtake one another
	Loss   float64       // of each packet and each segment of a stream, 0 to 1
}

// Network connects ports. All its choices come from one seed; the order in
// which watchers ask for them is the scheduler's.
type Network struct {
	link Link

	mu    sync.Mutex
	rng   *rand.Rand
	ports map[string]*Port // by address
	cut   func(a, b *Port) bool
	conns map[*pair]struct{}
}

// NewNetwork makes a network without ports.
func NewNetwork(link Link, seed uint64) *Network {
	return &Network{
		link: link, rng: rand.New(rand.NewPCG(seed, 1)),
		ports: map[string]*Port{}, conns: map[*pair]struct{}{},
	}
}

// Partition cuts the pairs of ports that cut names, and mends all others; nil
// mends all. Packets across a cut vanish, streams hang and then break.
func (n *Network) Partition(cut func(a, b *Port) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
	if cut == nil {
		return
	}
	for p := range n.conns {
		if cut(p.a, p.b) {
			p.hang()
		}
	}
}

func (n *Network) cutLocked(a, b *Port) bool {
	return a.unplugged || b.unplugged || n.cut != nil && n.cut(a, b)
}

var errNoRoute = errors.New("no route")

// find is who has an address.
func (n *Network) find(addr string) (*Port, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.ports[addr]
	if p == nil {
		return nil, errNoRoute
	}
	return p, nil
}

// flight decides what becomes of a packet: how long it takes, or that it is
// lost.
func (n *Network) flight(from, to *Port) (time.Duration, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cutLocked(from, to) || n.rng.Float64() < n.link.Loss {
		return 0, false
	}
	return n.delayLocked(), true
}

func (n *Network) delayLocked() time.Duration {
	d := n.link.Delay
	if n.link.Jitter > 0 {
		d += time.Duration(n.rng.Int64N(int64(n.link.Jitter)))
	}
	return d
}

// Port is one watcher's place in the network.
type Port struct {
	net    *Network
	name   string
	addr   *net.TCPAddr
	meters meters

	unplugged bool // guarded by net.mu

	packets packetQueue
	streams chan net.Conn
	pulls   *listener
}

// Listen makes a port at an address, IP:port.
func (n *Network) Listen(name, addr string) *Port {
	p := &Port{
		net: n, name: name, addr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr)),
		packets: make(packetQueue, packetBuffer), streams: make(chan net.Conn, streamBacklog),
	}
	p.pulls = newListener(p.addr)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports[addr] = p
	return p
}

// Unplug takes a port out: what others send it vanishes, and so does what it
// sends, streams included.
func (n *Network) Unplug(p *Port) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p.unplugged = true
	delete(n.ports, p.addr.String())
	for c := range n.conns {
		if c.a == p || c.b == p {
			c.hang()
		}
	}
}

// Name is the member's that listens.
func (p *Port) Name() string { return p.name }
