package distance

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"
)

// path is what packets to and from one gateway meet.
type path struct {
	rtt    time.Duration
	jitter float64 // of the delay, to either side
	cut    bool    // all packets are lost

	last [2]time.Time // when the last packet of each direction is due
}

// relay carries IPv4 packets between two TUN devices, each packet half of its
// path's round-trip time later, in order.
type relay struct {
	near, far *os.File

	mu    sync.Mutex
	paths map[netip.Addr]*path // by gateway
}

// Directions.
const (
	outward = iota
	homeward
)

// run carries packets until the devices are closed.
func (r *relay) run() {
	var both sync.WaitGroup
	both.Go(func() { r.carry(r.near, r.far, outward) })
	both.Go(func() { r.carry(r.far, r.near, homeward) })
	both.Wait()
}

// IPv4 headers (RFC 791).
const (
	headerLen = 20
	sourceAt  = 12
	destAt    = 16
)

func (r *relay) carry(from, to *os.File, direction int) {
	buf := make([]byte, 65536)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return // closed
		}
		if n < headerLen || buf[0]>>4 != 4 {
			continue // IPv6 finds its neighbours
		}
		at := destAt
		if direction == homeward {
			at = sourceAt
		}
		delay, ok := r.delay(netip.AddrFrom4([4]byte(buf[at:at+4])), direction)
		if !ok {
			continue
		}
		packet := append([]byte(nil), buf[:n]...)
		time.AfterFunc(delay, func() { _, _ = to.Write(packet) })
	}
}

// delay is how much later a packet arrives; false if it doesn't.
func (r *relay) delay(gateway netip.Addr, direction int) (time.Duration, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.paths[gateway]
	if p == nil || p.cut {
		return 0, false
	}
	now := time.Now()
	due := now.Add(time.Duration(float64(p.rtt) / 2 * (1 + p.jitter*(2*rand.Float64()-1))))
	if due.Before(p.last[direction]) {
		due = p.last[direction]
	}
	p.last[direction] = due
	return due.Sub(now), true
}

// change changes the path of a gateway.
func (r *relay) change(gateway netip.Addr, to func(*path)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	to(r.paths[gateway])
}
