package kube

import "github.com/prometheus/client_golang/prometheus"

// metrics have no label that grows with the cluster.
type metrics struct {
	synced         prometheus.Gauge
	services       prometheus.Gauge
	problems       prometheus.Gauge
	setProblems    prometheus.Gauge
	updates        prometheus.Counter
	watchErrors    *prometheus.CounterVec
	forbidden      *prometheus.GaugeVec
	conflicts      prometheus.Gauge
	reports        *prometheus.CounterVec
	leader         prometheus.Gauge
	epochConflicts prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "isthmus", Subsystem: "kube", Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "isthmus", Subsystem: "kube", Name: name, Help: help}
	}
	m := &metrics{
		synced:      gauge("synced", "1 when the whole cluster has been read once."),
		services:    gauge("exported_services", "Services of this cluster that are exported."),
		problems:    gauge("problem_services", "Services that are declared exported and have a problem; the log names it."),
		setProblems: gauge("gateway_set_problems", "Problems of gateway sets: objects that are not there or have no address, addresses that don't fit; the log names them."),
		updates:     prometheus.NewCounter(counter("updates_total", "Updates handed to the publisher.")),
		watchErrors: prometheus.NewCounterVec(
			counter("watch_errors_total", "Lists and watches that ended with an error, by resource."), []string{"resource"}),
		forbidden: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "isthmus", Subsystem: "kube", Name: "forbidden",
			Help: "1 for a kind that the watcher is not allowed to list: gateways and services that come from it are not known; the log says what to do.",
		}, []string{"resource"}),
		conflicts: gauge("conflict_services", "Services that other clusters export with another type, other ports or another session affinity; 0 in replicas that do not lead."),
		reports: prometheus.NewCounterVec(
			counter("reports_total", "Conditions and Events written about Services, by result (ok, error)."), []string{"result"}),
		leader:         gauge("leader", "1 while this replica holds the Lease and publishes."),
		epochConflicts: prometheus.NewCounter(counter("epoch_conflicts_total", "Attempts to store an epoch that another writer forestalled.")),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.synced, m.services, m.problems, m.setProblems, m.updates, m.watchErrors, m.forbidden, m.conflicts, m.reports, m.leader, m.epochConflicts} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
