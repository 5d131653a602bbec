package gossip

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Reasons of isthmus_gossip_dropped_total.
const (
	dropQueueFull   = "queue_full"   // the handler is slower than messages come
	dropTooLarge    = "too_large"    // a digest beyond its bound
	dropUnknownPeer = "unknown_peer" // memberlist wanted to answer somebody who is no member
	dropTransport   = "transport"    // the transport could not take the packet
)

type metrics struct {
	members  prometheus.GaugeFunc
	received prometheus.Counter
	dropped  *prometheus.CounterVec
	refused  *prometheus.CounterVec
	joins    *prometheus.CounterVec
}

func newMetrics(members func() float64) *metrics {
	return &metrics{
		members: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "isthmus_gossip_members",
			Help: "Members of the pool that are believed alive, this one included.",
		}, members),
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "isthmus_gossip_messages_received_total",
			Help: "Messages from members, repeated ones included.",
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_gossip_dropped_total",
			Help: "Messages, packets and digests dropped at this member, by reason.",
		}, []string{"reason"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_gossip_refused_total",
			Help: "Packets, streams and members refused before memberlist saw them, by reason.",
		}, []string{"reason"}),
		joins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_gossip_joins_total",
			Help: "Attempts to join through a seed or a lost member, by result.",
		}, []string{"result"}),
	}
}

func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.members, m.received, m.dropped, m.refused, m.joins} {
		errs = append(errs, r.Register(c))
	}
	return errors.Join(errs...)
}
