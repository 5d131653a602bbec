package kube

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// clusterRecord is the cluster's own record if it changed, else nil.
func (w *watch) clusterRecord() *discovery.Cluster {
	nodes := typed[*corev1.Node](w.informers.nodes.GetIndexer().List())
	w.learnNetworks(nodes)
	record := w.source.cfg.Cluster(nodes, w.uid)
	if record == nil {
		return nil
	}
	if w.source.cfg.Gateways != nil {
		record.GatewaySets = w.gatewaySets()
	}
	w.addNetworks(record)
	w.source.verdicts.noteSets(record.GatewaySets)
	now := fingerprint(record)
	if now == w.cluster {
		return nil
	}
	w.cluster = now
	return record
}

// addNetworks has the record name the cluster's networks, unless it does or has
// no room for them: they serve to find networks that overlap, while gateways
// answer. More than a record may have are told as fewer and wider ones: nodes
// that come and go leave gaps, which belong to the cluster all the same.
func (w *watch) addNetworks(record *discovery.Cluster) {
	with := *record
	if len(with.PodCIDRs) == 0 {
		with.PodCIDRs = export.Cover(w.options.PodCIDRs, discovery.MaxCIDRs)
	}
	if len(with.ServiceCIDRs) == 0 {
		with.ServiceCIDRs = export.Cover(w.options.ServiceCIDRs, discovery.MaxCIDRs)
	}
	if export.Roomy(&with) {
		*record = with
	}
}

// learnNetworks takes over which networks are the cluster's own. Services are
// looked at again when they change: an address may be refused now, or not any
// more.
func (w *watch) learnNetworks(nodes []*corev1.Node) {
	static := w.source.cfg.Options
	pods := export.Networks(slices.Concat(static.PodCIDRs, export.PodNetworks(nodes)))
	services := export.Networks(slices.Concat(static.ServiceCIDRs, export.ParsePrefixes(w.kinds.serviceRanges())))
	if slices.Equal(pods, w.options.PodCIDRs) && slices.Equal(services, w.options.ServiceCIDRs) {
		return
	}
	w.options.PodCIDRs, w.options.ServiceCIDRs = pods, services
	for key := range w.sent {
		w.queue.Add(key)
	}
	for _, e := range w.kinds.entries.all() { // one of which no endpoint could be used is not sent
		w.kinds.entryChanged(e)
	}
	w.source.log.Debug("own networks", slog.String("pods", prefixText(pods)), slog.String("services", prefixText(services)))
}

func prefixText(prefixes []netip.Prefix) string {
	var out []string
	for _, p := range prefixes {
		out = append(out, p.String())
	}
	return strings.Join(out, ",")
}

// gatewaySets are what the entries of the configuration come to.
func (w *watch) gatewaySets() []discovery.GatewaySet {
	in := export.SetInput{
		Service: func(at export.Object) (*corev1.Service, []*discoveryv1.EndpointSlice) {
			key := cache.NewObjectName(at.Namespace, at.Name)
			return w.informers.service(key), w.informers.slicesOf(key)
		},
		Ingress: w.kinds.ingress,
	}
	w.kinds.about(clusterRecord, &in.Input)
	in.Nodes, in.Opts = w.informers.node, w.options
	sets, problems := export.GatewaySets(w.source.cfg.Gateways(), in)
	w.source.metrics.setProblems.Set(float64(len(problems)))
	if text := strings.Join(problems, "; "); text != w.setTrouble {
		w.setTrouble = text
		if text == "" {
			w.source.log.Info("gateway sets have no problem any more")
		} else {
			w.source.log.Warn("gateway set has a problem: Services that it serves may have no address in other clusters", slog.String("problem", text))
		}
	}
	return sets
}

// refers tells whether a gateway set takes addresses from an object.
func (s *Source) refers(from export.From, at export.Object) bool {
	if s.cfg.Gateways == nil {
		return false
	}
	return slices.ContainsFunc(s.cfg.Gateways(), func(e export.SetEntry) bool { return e.From == from && e.Object == at })
}
