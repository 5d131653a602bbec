package transport

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/isthmus-dns/isthmus/gossip"
)

// maxMeters bounds the table in plain text, where clusters can be invented.
// Under TLS there are as many as clusters have certificates.
const maxMeters = 4096

// calm is how long a cluster must not have exceeded its rate for the next
// excess to count as a new one.
const calm = 2 * time.Second

// ownTimes is how many times as much our own cluster's watchers may send: they
// tell one another all news.
const ownTimes = 8

var errFlood = errors.New("cluster sent far too much")

// meters are the rates of all clusters that send or have sent.
type meters struct {
	rates Rates
	own   string // cluster

	mu        sync.Mutex
	byCluster map[string]*meter
}

func newMeters(r Rates, own string) *meters {
	return &meters{rates: r, own: own, byCluster: map[string]*meter{}}
}

// of finds or makes a cluster's meter.
func (ms *meters) of(cluster string) *meter {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m := ms.byCluster[cluster]
	if m == nil {
		for other := range ms.byCluster {
			if len(ms.byCluster) < maxMeters {
				break
			}
			delete(ms.byCluster, other) // any: it begins anew with a full burst
		}
		r, times := ms.rates, 1
		if cluster == ms.own {
			times = ownTimes
		}
		m = &meter{
			packets: rate.NewLimiter(rate.Limit(times*r.Packets), times*r.PacketBurst),
			octets:  rate.NewLimiter(rate.Limit(times*r.Octets), times*r.OctetBurst),
			streams: rate.NewLimiter(rate.Limit(r.Streams), r.StreamBurst),
			excess:  r.Excess, backOff: r.BackOff,
		}
		ms.byCluster[cluster] = m
	}
	return m
}

// meter is one cluster's rates, on however many connections.
type meter struct {
	packets, octets, streams *rate.Limiter
	excess, backOff          time.Duration

	mu          sync.Mutex
	first, last time.Time // of an excess that goes on
	until       time.Time // cut off
}

// verdict is what becomes of a frame.
type verdict int

const (
	take verdict = iota
	drop         // the rate is exceeded
	cut          // and has been for too long
)

// frame counts a frame of that many octets. Exactly one of an excess's frames
// is answered with cut.
func (m *meter) frame(size int) verdict {
	now := time.Now()
	within := m.packets.AllowN(now, 1)
	if m.octets.AllowN(now, size+frameHeader) && within {
		return take
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.last) > calm {
		m.first = now
	}
	m.last = now
	if now.Sub(m.first) < m.excess || now.Before(m.until) {
		return drop
	}
	m.until = now.Add(m.backOff)
	return cut
}

// cutOff tells whether the cluster is cut off now.
func (m *meter) cutOff() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Before(m.until)
}

// cutCluster closes all packet connections of a cluster's members, whoever
// dialed them, and drops what waits for them.
func (t *Transport) cutCluster(cluster string) {
	var all []*packetConn
	t.mu.Lock()
	for name, l := range t.links {
		if gossip.ClusterOf(name) == cluster {
			l.mu.Lock()
			all = append(all, l.conns...)
			l.mu.Unlock()
		}
	}
	t.mu.Unlock()
	t.log.Warn("cluster sends far too much and is cut off", "cluster", cluster, "for", t.cfg.Limits.Rates.BackOff.String())
	for _, c := range all {
		t.metrics.cut.WithLabelValues(cutFlood).Inc()
		_ = c.base.Close() // its reader ends
	}
}
