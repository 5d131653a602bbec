package transport

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxOrigins bounds the table of addresses. Whoever has more of them to come
// from is stopped by Limits.Handshakes.
const maxOrigins = 4096

// origin is where a connection comes from: an IPv4 address, or the /64 that an
// IPv6 host has to itself (RFC 4291 section 2.5.1).
type origin netip.Prefix

// originOf gives the zero origin for what has no IP address.
func originOf(a net.Addr) origin {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return origin{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return origin{}
	}
	return origin(p)
}

// arrivals bound how fast connections come from one origin, before a handshake
// is paid for.
type arrivals struct {
	rate  rate.Limit
	burst int

	mu       sync.Mutex
	byOrigin map[origin]*rate.Limiter
}

func newArrivals(r Rates) *arrivals {
	return &arrivals{rate: rate.Limit(r.Arrivals), burst: r.ArrivalBurst, byOrigin: map[origin]*rate.Limiter{}}
}

// allow tells whether one more connection from there may come in.
func (a *arrivals) allow(from origin) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.byOrigin[from]
	if l == nil {
		if len(a.byOrigin) >= maxOrigins {
			a.makeRoomLocked()
		}
		l = rate.NewLimiter(a.rate, a.burst)
		a.byOrigin[from] = l
	}
	return l.Allow()
}

// makeRoomLocked forgets origins that would begin with a full burst anyway,
// and if all are busy any half of them, so that it is not done for each.
func (a *arrivals) makeRoomLocked() {
	now := time.Now()
	for s, l := range a.byOrigin {
		if l.TokensAt(now) >= float64(a.burst) {
			delete(a.byOrigin, s)
		}
	}
	for s := range a.byOrigin {
		if len(a.byOrigin) <= maxOrigins/2 {
			return
		}
		delete(a.byOrigin, s)
	}
}
