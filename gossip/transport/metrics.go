package transport

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Reasons of isthmus_transport_refused_total; those of trust.Reason add to them.
const (
	refusedLimit    = "limit"     // too many connections or streams, of all or of one member
	refusedShare    = "share"     // too many of one cluster
	refusedRate     = "rate"      // connections of an address, or streams of a cluster, that come too fast
	refusedFlood    = "flood"     // a cluster that sent far too much, for a while
	refusedHalfOpen = "half_open" // pushed out by newer ones before it said who it is
	refusedTimeout  = "timeout"   // the handshake took too long
	refusedTLS      = "tls"       // no TLS, or it broke off
	refusedProtocol = "protocol"  // an ALPN protocol or a beginning that nobody here speaks
	refusedHello    = "hello"     // malformed hello
	refusedRole     = "role"      // an agent
	refusedName     = "name"      // the member name does not fit the certificate
	refusedMember   = "member"    // it wants another member than this one
	refusedFrame    = "frame"     // malformed frame
)

// Reasons of isthmus_transport_cut_total.
const (
	cutFlood     = "flood"     // the cluster sent far too much
	cutUntrusted = "untrusted" // the root behind the peer's certificate is no longer trusted
	cutOldest    = "oldest"    // the member has opened too many packet connections since
)

// Reasons of isthmus_transport_dropped_total.
const (
	droppedQueue       = "queue_full"  // the peer reads slower than we write
	droppedUnreachable = "unreachable" // the peer can't be reached at the moment
	droppedLost        = "lost"        // the connection broke
	droppedRate        = "rate"        // received, from a cluster that sends too much
)

type metrics struct {
	conns    *prometheus.GaugeVec
	refused  *prometheus.CounterVec
	cut      *prometheus.CounterVec
	dropped  *prometheus.CounterVec
	dials    *prometheus.CounterVec
	packets  *prometheus.CounterVec
	octets   *prometheus.CounterVec
	splices  *prometheus.CounterVec
	spliced  *prometheus.CounterVec
	siblings prometheus.Gauge
	octetsIn prometheus.Counter
	octetOut prometheus.Counter
	sent     prometheus.Counter
	received prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{
		conns: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "isthmus_transport_connections",
			Help: "Established connections, accepted and dialed, by kind.",
		}, []string{"kind"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_transport_refused_total",
			Help: "Accepted connections that were refused, by reason.",
		}, []string{"reason"}),
		cut: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_transport_cut_total",
			Help: "Established connections that were closed against the peer's will, by reason.",
		}, []string{"reason"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_transport_dropped_total",
			Help: "Packets that did not leave, or were not taken, by reason.",
		}, []string{"reason"}),
		dials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_transport_dials_total",
			Help: "Dialed connections, by kind and result.",
		}, []string{"kind", "result"}),
		packets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_transport_packets_total",
			Help: "Packets sent and received.",
		}, []string{"direction"}),
		octets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_transport_octets_total",
			Help: "Octets sent and received on all connections, TLS included.",
		}, []string{"direction"}),
		splices: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_transport_splices_total",
			Help: "Accepted connections that were for a sibling, by what came of it.",
		}, []string{"result"}),
		spliced: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_transport_spliced_octets_total",
			Help: "Octets copied to and from siblings for others.",
		}, []string{"direction"}),
		siblings: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "isthmus_transport_siblings",
			Help: "Other watchers of this cluster whose address is known.",
		}),
	}
	m.octetsIn, m.octetOut = m.octets.WithLabelValues("in"), m.octets.WithLabelValues("out")
	m.received, m.sent = m.packets.WithLabelValues("in"), m.packets.WithLabelValues("out")
	// Alarms are there from the start, so that a first one is an increase.
	m.refused.WithLabelValues(refusedFlood)
	m.cut.WithLabelValues(cutFlood)
	m.cut.WithLabelValues(cutUntrusted)
	return m
}

func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.conns, m.refused, m.cut, m.dropped, m.dials, m.packets, m.octets, m.splices, m.spliced, m.siblings,
	} {
		errs = append(errs, r.Register(c))
	}
	return errors.Join(errs...)
}
