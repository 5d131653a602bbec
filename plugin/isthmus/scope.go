package isthmus

import (
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// Labels of scoped names: VALUE.DIRECTIVE.ANCHOR.svc.ns, the grammar of
// CoreDNS's kubernetes plugin ("Zonal Names" in its README), which has _zone
// only.
const (
	labelZone   = "_zone"
	labelRegion = "_region"
	labelPin    = "pin"    // only what is there
	labelPrefer = "prefer" // what is there, all if nothing is
)

// maxScopes is how many zones and regions a service's answers are kept for, the
// ones built last. Clients ask for their own; others cost a build for each
// query, of the candidates in that zone alone.
const maxScopes = 8

// scope is a topology zone or region that a name limits its answers to.
type scope struct {
	value  string // lower case; all labels left of the directive
	region bool   // else a zone
}

func isScope(label string) bool { return label == labelZone || label == labelRegion }

// parseScope reads what stands before _zone or _region.
func parseScope(n name, head, label string) name {
	if head == "" {
		n.kind = nameScopeParent
		return n
	}
	head, directive := cutLast(head)
	if directive != labelPin && directive != labelPrefer || endsEscaped(head) {
		return n.unknown()
	}
	if head == "" {
		n.kind = nameScopeParent
		return n
	}
	n.kind, n.host = nameScope, head
	n.region, n.prefer = label == labelRegion, directive == labelPrefer
	return n
}

// endsEscaped tells whether the dot after s is part of a label, as in "a\.pin":
// behind an odd number of backslashes. Elsewhere such labels are in no table; a
// scope's value may be anything.
func endsEscaped(s string) bool {
	return (len(s)-len(strings.TrimRight(s, `\`)))%2 == 1
}

// scopedAlias splits a scope from an alias. No label of a host name begins with
// an underscore, so the last that does is the anchor.
func scopedAlias(full string) (n name, host string) {
	i := strings.LastIndex(full, "._") + 1 // 0 if there is none but the first
	label, host, _ := strings.Cut(full[i:], ".")
	if !isScope(label) {
		return name{kind: nameService}, full
	}
	return parseScope(name{}, strings.TrimSuffix(full[:i], "."), label), host
}

// prefix is what a cluster's name gets in front of it, to stand for only its
// endpoints in this scope.
func (s scope) prefix() string { return s.value + "." + labelPin + "." + labelZone + "." }

// scoped answers a name with a scope, whatever its value is: that nothing is in
// a zone is as true of one that nobody has heard of.
func (q *query) scoped(a *answers, n name) (*dns.Msg, result) {
	in, one := a.within(scope{value: n.host, region: n.region}), -1
	if in != nil && n.cluster != "" {
		if one = in.index(n.cluster); one < 0 {
			in = nil
		}
	}
	if n.prefer && (in == nil || in.empty(one) || in.panics() && !a.panics()) {
		in, one = a, -1
		if n.cluster != "" {
			one = a.index(n.cluster) // it is one, or its name would be none
		}
	}
	if in == nil {
		return nil, resultNoData
	}
	switch q.qtype {
	case dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeANY:
		return q.plain(in, one)
	}
	return nil, resultNoData
}

// empty tells whether no candidate, or not the given one, can be answered.
func (a *answers) empty(one int) bool {
	if one < 0 {
		return a.all.Empty()
	}
	return a.ways[one].tier == locality.TierOut
}

// panics tells whether all that is answered is known to be down.
func (a *answers) panics() bool {
	return slices.ContainsFunc(a.all.Verdicts, func(v locality.Verdict) bool {
		return v.In && (v.Reason == locality.ReasonPanic || v.Reason == locality.ReasonLastResort)
	})
}

// scopes are the zones and regions of a service and what was built for them.
type scopes struct {
	index atomic.Pointer[scopeIndex]
	built atomic.Pointer[[]*answers] // at most maxScopes, the newest first
}

// scopeIndex finds the candidates of a zone or region. All values that no
// candidate has share one absence: random ones find nothing and leave nothing
// behind.
type scopeIndex struct{ zones, regions []scopeMembers }

// scopeMembers are the candidates of one zone or region, ascending.
type scopeMembers struct {
	value   string
	members []int
}

func findScope(list []scopeMembers, value string) (m scopeMembers, found bool) {
	i, found := slices.BinarySearchFunc(list, value, func(m scopeMembers, v string) int { return strings.Compare(m.value, v) })
	if !found {
		return scopeMembers{}, false
	}
	return list[i], true
}

// within returns a service's answers as far as they are in a scope; nil if no
// candidate is.
func (a *answers) within(s scope) *answers {
	old := a.scopes.built.Load()
	if old != nil {
		for _, b := range *old {
			if b.scope == s {
				return b
			}
		}
	}
	index := a.scopes.index.Load()
	if index == nil {
		index = a.indexScopes()
		a.scopes.index.Store(index)
	}
	list := index.zones
	if s.region {
		list = index.regions
	}
	there, found := findScope(list, s.value)
	if !found {
		return nil
	}
	s.value = there.value // the query's is part of a message, which must not be kept
	b := a.narrow(s, there.members)
	built := []*answers{b}
	if old != nil {
		built = append(built, (*old)[:min(len(*old), maxScopes-1)]...)
	}
	a.scopes.built.CompareAndSwap(old, &built) // if it fails, the next query builds again
	return b
}

// narrow builds the answers of the candidates in a scope. A cluster is one
// choice: a virtual address or a gateway leads to all of it, so it is answered
// whole. Of a cluster that is answered by its endpoints, only those of the zone
// are.
func (a *answers) narrow(s scope, members []int) *answers {
	b := &answers{
		standpoint: a.standpoint, records: a.records, from: a.from, scope: s,
		entry:      &discovery.Entry{Key: a.entry.Key},
		ways:       make([]addresses, len(members)),
		candidates: make([]locality.Candidate, len(members)),
	}
	view := a.view
	fit := fitnessFor(view, *a.records)
	for k, i := range members {
		c := a.entry.Candidates[i]
		b.entry.Candidates = append(b.entry.Candidates, c)
		b.ways[k], b.candidates[k] = a.ways[i], a.candidates[i]
		if s.region || !byEndpoints(view, &a.ways[i], c) {
			continue
		}
		there := endpointsIn(c.Service, a.candidates[i].Locality.Zone, s.value)
		if a.ways[i].reach == locality.ByEndpoint {
			there = fit.keep(there)
		}
		b.ways[k] = collect(a.ways[i].reach, locality.NoAddress, there)
		b.ways[k].partial = true
		b.candidates[k].Reach = b.ways[k].reach
		// The zone's endpoints alone count: those elsewhere are not missed.
		ready, total := countIn(c.Service, a.candidates[i].Locality.Zone, s.value)
		b.candidates[k].Ready, b.candidates[k].Total = max(ready, uint32(len(there))), total
	}
	b.decide()
	return b
}

// indexScopes lists the zones and regions of all candidates.
func (a *answers) indexScopes() *scopeIndex {
	view := a.view
	zones, regions := map[string][]int{}, map[string][]int{}
	add := func(to map[string][]int, value string, i int) {
		members := to[value]
		if value != "" && (len(members) == 0 || members[len(members)-1] != i) {
			to[value] = append(members, i)
		}
	}
	for i, c := range a.entry.Candidates {
		where := a.candidates[i].Locality
		add(regions, strings.ToLower(where.Region), i)
		for _, zone := range zonesOf(c.Service, where.Zone, byEndpoints(view, &a.ways[i], c)) {
			add(zones, strings.ToLower(zone), i)
		}
	}
	return &scopeIndex{zones: sortedScopes(zones), regions: sortedScopes(regions)}
}

func sortedScopes(of map[string][]int) []scopeMembers {
	list := make([]scopeMembers, 0, len(of))
	for value, members := range of {
		list = append(list, scopeMembers{value, members})
	}
	slices.SortFunc(list, func(x, y scopeMembers) int { return strings.Compare(x.value, y.value) })
	return list
}

// byEndpoints tells whether a candidate is answered by its endpoints.
func byEndpoints(view *View, way *addresses, c discovery.Candidate) bool {
	switch way.reach {
	case locality.ByEndpoint:
		return true
	case locality.ByGateway:
		return false
	}
	ownAddress := c.Service.Kind == discovery.KindClusterIP && len(c.Service.ClusterIPs) > 0
	return view.Cluster != "" && c.Cluster == view.Cluster && !ownAddress
}

// zonesOf lists the zones that a cluster's service is in, some more than once:
// those of its ready endpoints, and the cluster's own if it is answered whole.
// An endpoint that names none is where its cluster is.
func zonesOf(s *discovery.Service, home string, byEndpoints bool) []string {
	var zones []string
	if byEndpoints {
		for _, e := range s.Endpoints {
			if e.Ready {
				zones = append(zones, zoneOr(e.Zone, home))
			}
		}
		return zones
	}
	zones = append(zones, home)
	for _, c := range s.Counts {
		if c.Ready > 0 {
			zones = append(zones, zoneOr(c.Zone, home))
		}
	}
	return zones
}

func zoneOr(zone, home string) string {
	if zone == "" {
		return home
	}
	return zone
}

// countIn is the number of endpoints that are counted in a zone, of which the
// ready ones may be more than a record carries.
func countIn(s *discovery.Service, home, zone string) (ready, total uint32) {
	for _, c := range s.Counts {
		if strings.EqualFold(zoneOr(c.Zone, home), zone) {
			ready, total = ready+c.Ready, total+c.Total
		}
	}
	return ready, total
}

// endpointsIn are the ready endpoints of a zone.
func endpointsIn(s *discovery.Service, home, zone string) []netip.Addr {
	var there []netip.Addr
	for _, e := range s.Endpoints {
		if e.Ready && strings.EqualFold(zoneOr(e.Zone, home), zone) {
			there = append(there, e.Addr)
		}
	}
	return there
}
