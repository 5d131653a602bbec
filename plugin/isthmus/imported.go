package isthmus

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// maxHosts limits the endpoints of a headless service that have a name in an
// MCS zone, those of the nearest clusters first: twice what one cluster's
// record can carry, and as many SRV records as an answer has.
const maxHosts = maxSRV

// imported is what an MCS zone says of a service beyond a plain one: KEP-1645
// makes of all clusters' exports one ServiceImport. It belongs to answers and
// is as immutable; it is built when an MCS zone is first asked for the service.
type imported struct {
	headless bool
	// exists is false for a headless service without a ready endpoint: "the
	// answer should be NXDOMAIN" (section 2.4.1).
	exists bool
	all    addresses      // of a headless service: the endpoints that can be reached
	hosts  []importedHost // of a headless service: ready endpoints, by cluster and label
	ports  map[portName]uint16
}

// importedHost is a named endpoint.
type importedHost struct {
	candidate int
	cluster   string
	label     string // the first of its name
	owner     string // label.cluster.svc.ns
	way       *addresses
}

// portName is what SRV names say of a port.
type portName struct {
	name     string
	protocol discovery.Protocol
}

// imported returns what an MCS zone says of the service.
func (a *answers) imported() *imported {
	if i := a.imports.Load(); i != nil {
		return i
	}
	i := &imported{exists: true}
	if a.kind() == discovery.KindHeadless {
		a.fillHeadless(i)
	} else {
		i.ports = a.commonPorts()
	}
	a.imports.Store(i)
	return i
}

// kind is what the service is if its clusters don't agree: what the own cluster
// says, because others may say what they like, else the oldest export
// (KEP-1645, "Conflict Resolution Policy"), else the cluster that sorts first.
func (a *answers) kind() discovery.Kind {
	var oldest *discovery.Service
	since := func(s *discovery.Service) int64 {
		if s.ExportedAt > 0 {
			return s.ExportedAt
		}
		return math.MaxInt64 // who does not know comes last
	}
	for _, c := range a.entry.Candidates {
		if own := a.view.Cluster; own != "" && c.Cluster == own {
			return c.Service.Kind
		}
		if oldest == nil || since(c.Service) < since(oldest) {
			oldest = c.Service
		}
	}
	if oldest == nil {
		return discovery.KindClusterIP
	}
	return oldest.Kind
}

// fillHeadless takes up the endpoints of all clusters that export the service
// as headless, nearest clusters first.
func (a *answers) fillHeadless(i *imported) {
	i.headless, i.exists = true, false
	order := make([]int, 0, len(a.ways))
	for c := range a.ways {
		s := a.entry.Candidates[c].Service
		if s.Kind == discovery.KindHeadless && s.Ready() > 0 {
			i.exists = true
			order = append(order, c)
		}
	}
	slices.SortStableFunc(order, func(x, y int) int {
		return cmp.Compare(a.ways[x].priority, a.ways[y].priority)
	})
	fit := fitnessFor(a.view, *a.records)
	var all []netip.Addr
	var nearest *addresses
	stale := false
	for _, c := range order {
		reached := a.fillHosts(i, c, fit)
		if len(all) == 0 && len(reached) > 0 {
			nearest = &a.ways[c]
		}
		stale = stale || len(reached) > 0 && a.ways[c].stale
		all = append(all, reached[:min(len(reached), max(0, 2*maxAddresses-len(all)))]...)
	}
	i.all = collect(locality.ByEndpoint, locality.NoAddress, all)
	if nearest != nil {
		i.all.tier, i.all.reason, i.all.stale = nearest.tier, nearest.reason, stale
	}
	slices.SortFunc(i.hosts, func(x, y importedHost) int {
		return cmp.Or(strings.Compare(x.cluster, y.cluster), strings.Compare(x.label, y.label))
	})
}

// fillHosts takes up one cluster's endpoints, and returns the addresses of
// those that the viewer reaches without a gateway.
func (a *answers) fillHosts(i *imported, candidate int, fit fitness) (reached []netip.Addr) {
	c, way := a.entry.Candidates[candidate], &a.ways[candidate]
	direct := way.reach == locality.ByService || way.reach == locality.ByEndpoint
	addrs := map[string][]netip.Addr{}
	var labels []string
	for _, e := range c.Service.Endpoints {
		if !e.Ready || way.reach == locality.ByEndpoint && !fit(e.Addr) {
			continue
		}
		if direct {
			reached = append(reached, e.Addr)
		}
		label := hostLabel(e)
		if addrs[label] == nil {
			labels = append(labels, label)
		}
		addrs[label] = append(addrs[label], e.Addr)
	}
	for _, label := range labels[:min(len(labels), maxHosts-len(i.hosts))] {
		h := importedHost{candidate: candidate, cluster: c.Cluster, label: label, way: way}
		h.owner = label + "." + c.Cluster + "." + string(a.entry.Key)
		if direct {
			own := collect(way.reach, locality.NoAddress, addrs[label])
			own.tier, own.priority, own.stale = way.tier, way.priority, way.stale
			h.way = &own
		}
		i.hosts = append(i.hosts, h)
	}
	return reached
}

// hostLabel is an endpoint's own label: its host name, or, as CoreDNS's
// kubernetes plugin has it, its address with dashes (section 2.1 wants "a
// unique, system-assigned identifier").
func hostLabel(e discovery.Endpoint) string {
	if e.Hostname != "" {
		return e.Hostname
	}
	return strings.NewReplacer(".", "-", ":", "-").Replace(e.Addr.String())
}

// host finds an endpoint, nil if there is none.
func (i *imported) host(cluster, label string) *importedHost {
	at, found := slices.BinarySearchFunc(i.hosts, importedHost{cluster: cluster, label: label}, func(x, y importedHost) int {
		return cmp.Or(strings.Compare(x.cluster, y.cluster), strings.Compare(x.label, y.label))
	})
	if !found {
		return nil
	}
	return &i.hosts[at]
}

func (i *imported) hasHostIn(cluster string) bool {
	return slices.ContainsFunc(i.hosts, func(h importedHost) bool { return h.cluster == cluster })
}

// answered tells whether the endpoint's cluster may be answered now.
func (h *importedHost) answered() bool { return h.way.tier != locality.TierOut && h.way.reach.OK() }

// nothing is the result when the endpoint has no address of the family.
func (h *importedHost) nothing() result {
	if h.way.reach == locality.Unresolved {
		return resultServFail
	}
	return resultNoData
}

// commonPorts lists the named ports of the clusters that the service's name may
// be answered with: the port if it is the same at all of them, 0 if it differs
// or one of them lacks it.
func (a *answers) commonPorts() map[portName]uint16 {
	ports := map[portName]uint16{}
	counts := map[portName]int{}
	answered := 0
	for c := range a.ways {
		if !in(a.v4, c) && !in(a.v6, c) {
			continue
		}
		answered++
		seen := map[portName]bool{}
		own := a.entry.Candidates[c].Service.Ports
		for k := range own {
			p := &own[k]
			id := portName{p.Name, p.Protocol}
			if p.Name == "" || seen[id] || len(ports) == maxSRV && counts[id] == 0 {
				continue
			}
			seen[id] = true
			port := a.ways[c].port(p)
			if counts[id] > 0 && ports[id] != port || a.ways[c].divided(p) {
				port = 0
			}
			ports[id] = port
			counts[id]++
		}
	}
	for id, n := range counts {
		if n < answered {
			ports[id] = 0
		}
	}
	return ports
}

// in tells whether a plan answers with a candidate.
func in(p *locality.Plan, candidate int) bool {
	return candidate < len(p.Verdicts) && p.Verdicts[candidate].In
}

// hasNamedPort is hasPort without unnamed ports, which have no SRV record in an
// MCS zone (sections 2.3.2 and 2.4.2).
func (a *answers) hasNamedPort(n name) bool {
	for _, c := range a.entry.Candidates {
		for _, p := range c.Service.Ports {
			if p.Name != "" && n.matches(&p) {
				return true
			}
		}
	}
	return false
}
