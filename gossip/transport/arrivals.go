package transport

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxSources bounds the table of addresses. Whoever has more of them to come
// from is stopped by Limits.Handshakes.
const maxSources = 4096

// source is where a connection comes from: an IPv4 address, or the /64 that an
// IPv6 host has to itself (RFC 4291 section 2.5.1).
type source netip.Prefix

// sourceOf gives the zero source for what has no IP address.
func sourceOf(a net.Addr) source {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return source{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return source{}
	}
	return source(p)
}

// arrivals bound how fast connections come from one source, before a handshake
// is paid for.
type arrivals struct {
	rate  rate.Limit
	burst int

	mu       sync.Mutex
	bySource map[source]*rate.Limiter
}

func newArrivals(r Rates) *arrivals {
	return &arrivals{rate: rate.Limit(r.Arrivals), burst: r.ArrivalBurst, bySource: map[source]*rate.Limiter{}}
}

// allow tells whether one more connection from there may come in.
func (a *arrivals) allow(from source) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.bySource[from]
	if l == nil {
		if len(a.bySource) >= maxSources {
			a.makeRoomLocked()
		}
		l = rate.NewLimiter(a.rate, a.burst)
		a.bySource[from] = l
	}
	return l.Allow()
}

// makeRoomLocked forgets sources that would begin with a full burst anyway,
// and if all are busy any half of them, so that it is not done for each.
func (a *arrivals) makeRoomLocked() {
	now := time.Now()
	for s, l := range a.bySource {
		if l.TokensAt(now) >= float64(a.burst) {
			delete(a.bySource, s)
		}
	}
	for s := range a.bySource {
		if len(a.bySource) <= maxSources/2 {
			return
		}
		delete(a.bySource, s)
	}
}
