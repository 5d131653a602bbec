package api

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/probe"
)

// status is what the state says now.
func status(about About, state State) Status {
	s := Status{About: about, Leading: state.Leading(), Ready: state.Ready(), Config: state.Config(), Members: state.Members(), Clusters: []Cluster{}}
	checks := state.Checks()
	for _, c := range state.Table().Clusters() {
		var checked *Checked
		if c.Cluster.Name != about.Cluster {
			checked = checkedOf(checks, c.Cluster)
		}
		s.Clusters = append(s.Clusters, Cluster{
			Name: c.Cluster.Name, UID: c.Cluster.UID, Network: c.Cluster.Network, Locality: c.Cluster.Locality.String(),
			Epoch: c.Version.Epoch, Seq: c.Version.Seq, AgeSeconds: age(state, c.Cluster.Name),
			Services: c.Services, Gateways: gateways(c.Cluster), Checked: checked,
		})
	}
	if s.Members == nil {
		s.Members = []Member{}
	}
	s.Overlaps = overlaps(state.Overlaps())
	return s
}

// overlaps is nil for none.
func overlaps(found *discovery.Overlaps) *Overlaps {
	if found.Pairs == 0 {
		return nil
	}
	out := &Overlaps{Pairs: found.Pairs, Listed: []Overlap{}}
	for _, o := range found.Listed {
		out.Listed = append(out.Listed, Overlap{Network: o.Network, Claims: [2]Claim{claim(o.A), claim(o.B)}})
	}
	return out
}

func claim(c discovery.Claim) Claim {
	return Claim{Cluster: c.Cluster, Use: strings.ToLower(c.Use.String()), Prefix: c.Prefix}
}

func age(state State, cluster string) *int64 {
	at, ok := state.Heard(cluster)
	if !ok {
		return nil
	}
	seconds := int64(time.Since(at) / time.Second)
	return &seconds
}

func gateways(c *discovery.Cluster) (n int) {
	for _, set := range c.GatewaySets {
		n += len(set.Gateways)
	}
	return n
}

// checkedOf is nil for a cluster without gateways.
func checkedOf(checks *probe.Snapshot, c *discovery.Cluster) *Checked {
	if gateways(c) == 0 {
		return nil
	}
	var sum Checked
	var nearest time.Duration
	for _, set := range c.GatewaySets {
		for i := range set.Gateways {
			g := &set.Gateways[i]
			switch s := checks.Gateway(c.Name, g, g.CheckPort(nil)); s.Status {
			case probe.Up:
				sum.Up++
				if rtt := s.RTT.Smoothed; rtt > 0 && (nearest == 0 || rtt < nearest) {
					nearest = rtt
				}
			case probe.Down:
				sum.Down++
			default:
				sum.Unknown++
			}
		}
	}
	sum.RTTSeconds = nearest.Seconds()
	return &sum
}

// checks lists all addresses that are checked.
func checks(snapshot *probe.Snapshot) Checks {
	clusters := map[string][]probe.Result{}
	maps.Insert(clusters, snapshot.All())
	out := Checks{Gateways: []Check{}}
	for _, cluster := range slices.Sorted(maps.Keys(clusters)) {
		for _, r := range clusters[cluster] {
			c := Check{
				Cluster: cluster, Host: r.Target.Host, Address: netip.AddrPortFrom(r.Target.Addr, r.Target.Port),
				Check: r.Target.Check.String(), Status: r.Status.String(), RTTSeconds: r.RTT.Smoothed.Seconds(), Error: r.Error,
			}
			if r.Status != probe.Unknown {
				since := r.Since.UTC()
				c.Since = &since
			}
			out.Gateways = append(out.Gateways, c)
		}
	}
	return out
}

// page lists up to limit services of a namespace ("" for all) whose place is
// after the given one.
func page(table *discovery.Table, namespace string, after place, limit int) Services {
	// The table has no order. Of what follows, only the first limit + 1 are
	// kept, in a heap's stead by sorting now and then: cost n log limit.
	var found []*discovery.Entry
	keep := func() {
		slices.SortFunc(found, func(a, b *discovery.Entry) int { return placeOf(a).compare(placeOf(b)) })
		if len(found) > limit+1 {
			found = found[:limit+1]
		}
	}
	table.Walk(func(e *discovery.Entry) bool {
		p := placeOf(e)
		if (namespace == "" || p.namespace == namespace) && p.compare(after) > 0 {
			if found = append(found, e); len(found) > 2*(limit+1) {
				keep()
			}
		}
		return true
	})
	keep()
	clusters := map[string]*discovery.Cluster{}
	for _, c := range table.Clusters() {
		clusters[c.Cluster.Name] = c.Cluster
	}
	out := Services{Services: []Service{}}
	for _, e := range found[:min(len(found), limit)] {
		out.Services = append(out.Services, service(e, clusters))
	}
	if len(found) > limit {
		out.Next = placeOf(found[limit-1]).String()
	}
	return out
}

func service(e *discovery.Entry, clusters map[string]*discovery.Cluster) Service {
	namespace, name := e.Key.Split()
	out := Service{Namespace: namespace, Name: name, Clusters: []Exported{}}
	for _, c := range e.Candidates {
		out.Clusters = append(out.Clusters, exported(c, clusters[c.Cluster]))
	}
	return out
}

func exported(c discovery.Candidate, cluster *discovery.Cluster) Exported {
	s := c.Service
	out := Exported{
		Cluster: c.Cluster, Kind: kinds[s.Kind], Ready: s.Ready(), Total: s.Total(),
		Weight: max(s.Weight, 1), ClusterIPs: s.ClusterIPs, Aliases: s.Aliases,
	}
	for _, p := range s.Ports {
		out.Ports = append(out.Ports, Port{Name: p.Name, Protocol: p.Protocol.String(), Port: p.Port, Gateway: p.Gateway})
	}
	if cluster != nil {
		for _, g := range cluster.GatewaysFor(s) {
			out.Gateways = append(out.Gateways, Gateway{Addresses: g.Addresses, Hostname: g.Hostname, Port: g.Port, Kind: g.Kind.String()})
		}
	}
	return out
}

var kinds = map[discovery.Kind]string{
	discovery.KindClusterIP: "clusterip", discovery.KindHeadless: "headless", discovery.KindExternal: "external",
}

// place is where a service stands in the order of pages.
type place struct{ namespace, name string }

func placeOf(e *discovery.Entry) place {
	namespace, name := e.Key.Split()
	return place{namespace, name}
}

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.namespace, o.namespace), cmp.Compare(p.name, o.name))
}

// parsePlace reads what String wrote.
func parsePlace(s string) (p place, ok bool) {
	p.namespace, p.name, ok = strings.Cut(s, "/")
	return p, ok
}

// String is "namespace/name".
func (p place) String() string { return p.namespace + "/" + p.name }
