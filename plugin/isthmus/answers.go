package isthmus

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// answers is all that a viewer is answered about one service: built when first
// asked for after a change, immutable but for targets, and kept with the
// table's entry.
type answers struct {
	// What most queries read comes first: it is one line of the processor's
	// cache.

	// What it was built from besides the entry; it holds as long as they do. Of
	// facts only that, see standpoint.
	*standpoint
	records *[]*discovery.Cluster
	// usesNames tells that a gateway's host name was looked up for it.
	usesNames bool
	ways      []addresses // in the order of the entry's candidates
	// all decides over everything that can be reached. v4 and v6 decide for
	// one family; they are the same plan where families make no difference.
	v4, v6, all *locality.Plan

	from       *viewpoint
	names      uint64 // generation of the resolver, when usesNames
	entry      *discovery.Entry
	candidates []locality.Candidate // what all was decided from

	// targets are built at the first SRV or SVCB query; see targets.go.
	targets atomic.Pointer[targetList]
	// scope is what these answers are limited to, if they are one of another's
	// scoped answers; see scope.go.
	scope  scope
	scopes scopes
	// imports are built at the first query in an MCS zone; see imported.go.
	imports atomic.Pointer[imported]
	lone    atomic.Pointer[[]*answers] // see alone.go

	_ [24]byte // fills three lines, so that none is shared with another's
}

// viewpoint is a place to look at a link's table from. Stanzas that share a
// link and a locality share it and what was built for it, also across a
// reload of the Corefile.
type viewpoint struct {
	link     link
	names    *resolver
	outlook  *outlook
	reverse  *reverser          // nil in a link that never has reverse zones
	locality discovery.Locality // of the Corefile; empty takes the view's
	fit      fitness            // nil takes the view's
	serial   serial
}

// answers returns what there is to answer about a service; view is not nil.
// A hit costs a few loads.
func (v *viewpoint) answers(e *discovery.Entry, view *View) *answers {
	f := v.outlook.facts(view)
	records := v.outlook.table.Records()
	if a, ok := e.Memo(v).(*answers); ok && a.standpoint == f.standpoint && a.records == records &&
		(!a.usesNames || a.names == v.names.Generation()) {
		return a
	}
	a := v.build(e, f, records)
	e.SetMemo(v, a)
	return a
}

func (v *viewpoint) build(e *discovery.Entry, f *facts, records *[]*discovery.Cluster) *answers {
	a := v.survey(e, f, records)
	a.decide()
	return a
}

// survey is build up to the decision.
func (v *viewpoint) survey(e *discovery.Entry, f *facts, records *[]*discovery.Cluster) *answers {
	// The generation is read first: a name that resolves meanwhile makes
	// these answers outdated, not wrong for good.
	a := &answers{standpoint: f.standpoint, records: records, from: v, entry: e, names: v.names.Generation()}
	ways := newFinder(f, *records, a.noting(v.names))
	if v.fit != nil {
		ways.fit = v.fit
	}
	a.ways = make([]addresses, len(e.Candidates))
	a.candidates = make([]locality.Candidate, len(e.Candidates))
	for i, c := range e.Candidates {
		record := clusterRecord(*records, c.Cluster)
		way := &a.ways[i]
		*way = ways.service(record, c.Service)
		a.candidates[i] = locality.Candidate{
			Cluster:   c.Cluster,
			Locality:  record.Locality,
			Ready:     c.Service.Ready(),
			Total:     c.Service.Total(),
			Weight:    c.Service.Weight,
			Reach:     way.reach,
			Gateway:   way.gateway,
			Freshness: f.freshness[c.Cluster],
			RTT:       way.rtt,
			Band:      way.band,
		}
	}
	return a
}

// decide makes the plans from the candidates.
func (a *answers) decide() {
	viewer, policy := a.from.viewer(a.view), a.policies.For(a.entry.Key)
	a.all = locality.Decide(viewer, policy, a.candidates)
	for i, v := range a.all.Verdicts {
		way := &a.ways[i]
		way.tier, way.priority, way.stale, way.reason = v.Tier, uint16(v.Priority), v.Stale, v.Reason
		if v.Tier == locality.TierOut {
			way.priority = locality.MaxPriorities
		}
	}
	a.v4 = a.family(viewer, policy, func(w *addresses) bool { return len(w.v4) > 0 })
	a.v6 = a.family(viewer, policy, func(w *addresses) bool { return len(w.v6) > 0 })
}

// noting is the resolver's lookup; it notes that these answers depend on it.
func (a *answers) noting(names *resolver) hostAddrs {
	return func(cluster, host string) ([]netip.Addr, bool) {
		a.usesNames = true
		return names.Addrs(cluster, host)
	}
}

func (v *viewpoint) viewer(view *View) locality.Viewer {
	where := v.locality
	if where == (discovery.Locality{}) {
		where = view.Locality
	}
	return locality.Viewer{Cluster: view.Cluster, Network: view.Network, Locality: where}
}

// family decides among the candidates that have an address of one family, so
// that a client which speaks only IPv6 gets an answer as long as any cluster
// has one. The own cluster is the exception: its clients speak the family of
// its Services, and an IPv6 address elsewhere would draw dual-stack clients
// away from an IPv4 Service next to them. Then the answer is NODATA. A rule that
// sends them elsewhere anyhow takes the exception with it.
func (a *answers) family(viewer locality.Viewer, policy locality.Policy, has func(*addresses) bool) *locality.Plan {
	var some []locality.Candidate
	for i, v := range a.all.Verdicts {
		if !a.ways[i].reach.OK() || has(&a.ways[i]) {
			continue
		}
		if v.In && viewer.Cluster != "" && a.candidates[i].Cluster == viewer.Cluster {
			return &locality.Plan{}
		}
		if some == nil {
			some = slices.Clone(a.candidates)
		}
		// It has no endpoint in this family, so none is missed there.
		some[i].Reach, some[i].Ready, some[i].Total = locality.NoAddress, 0, 0
	}
	if some == nil {
		return a.all
	}
	return locality.Decide(viewer, policy, some)
}

// waiting tells that nothing can be answered only because host names of
// gateways are not resolved yet. That is no reason to say that there is
// nothing: the client shall ask again.
func (a *answers) waiting() bool {
	if !a.all.Empty() {
		return false
	}
	for _, v := range a.all.Verdicts {
		if v.Reason == locality.ReasonUnresolved {
			return true
		}
	}
	return false
}

// index is a cluster's place among the candidates, -1 if it isn't one.
func (a *answers) index(cluster string) int {
	for i, c := range a.entry.Candidates {
		if c.Cluster == cluster {
			return i
		}
	}
	return -1
}
