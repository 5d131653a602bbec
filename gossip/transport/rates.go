package transport

import "time"

// Rates bound how fast peers may come and send. Zero fields take
// DefaultRates' values.
//
// They count per cluster and not per member, because a cluster's certificate
// vouches for any number of member names.
type Rates struct {
	Packets, PacketBurst int // from one cluster; a second
	Octets, OctetBurst   int // in its frames; a second
	Streams, StreamBurst int // that one cluster opens; a second

	Excess  time.Duration // of packets or octets without a pause, until the cluster is cut off
	BackOff time.Duration // how long it stays cut off

	// Connections from one address (IPv6: one /64) that have not yet said who
	// they are; a second.
	Arrivals, ArrivalBurst int
}

// DefaultRates are for a clusterset of 1,000 clusters with three watchers
// each: no honest cluster comes near, and a hostile one costs at most a tenth
// of a core.
//
//   - Packets and octets: memberlist sends a member at most five packets of
//     8 KiB a second (in a large pool hardly any: it picks 3 of 3,000) and some
//     probes and answers. The publisher sends each version of its part, up to
//     7 KiB: ten a second while services change all the time, a hundred for
//     some seconds when many lose their last endpoint one by one. What others
//     publish is sent on to one or two random members, which makes ten a
//     second of a cluster's watchers if all clusters publish ten a second.
//     Three watchers: 3 × (5 + 5) + 10 + 10 packets, some 300 KiB a second.
//     1,000 packets that are read and dropped cost some 2 % of a core; what is
//     inside is counted by package gossip, which looks into them.
//   - Streams: a watcher pushes and pulls once in 30 s, and some ten times when
//     it starts. A hostile push/pull of 4,096 members costs some 20 ms, so
//     four a second cost 8 % of a core.
//   - Arrivals: a TLS handshake costs some 0.3 ms, so 200 a second cost 6 % of a
//     core. Behind a load balancer that hides addresses 3,000 watchers or
//     5,000 agents share one: after our restart the burst lets the first 1,000
//     in at once, and all are in after 20 s.
func DefaultRates() Rates {
	return Rates{
		Packets: 1000, PacketBurst: 8000,
		Octets: 2 << 20, OctetBurst: 16 << 20,
		Streams: 4, StreamBurst: 64,
		Excess:   10 * time.Second, // a burst that no honest peer has was used up before
		BackOff:  time.Minute,      // a watcher that was mended is back soon; handshakes meanwhile are cheap
		Arrivals: 200, ArrivalBurst: 1000,
	}
}

func (r *Rates) setDefaults() {
	d := DefaultRates()
	orInt(&r.Packets, d.Packets)
	orInt(&r.PacketBurst, d.PacketBurst)
	orInt(&r.Octets, d.Octets)
	orInt(&r.OctetBurst, d.OctetBurst)
	orInt(&r.Streams, d.Streams)
	orInt(&r.StreamBurst, d.StreamBurst)
	orInt(&r.Arrivals, d.Arrivals)
	orInt(&r.ArrivalBurst, d.ArrivalBurst)
	r.OctetBurst = max(r.OctetBurst, maxFrame) // or the largest frame would never pass
	if r.Excess <= 0 {
		r.Excess = d.Excess
	}
	if r.BackOff <= 0 {
		r.BackOff = d.BackOff
	}
}

func orInt(v *int, def int) {
	if *v <= 0 {
		*v = def
	}
}
