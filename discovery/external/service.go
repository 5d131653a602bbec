package external

import (
	"net/netip"
	"slices"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
	"github.com/isthmus-dns/isthmus/discovery/probe"
)

// service is one that wants its endpoints checked; guarded by Checker.mu.
type service struct {
	record  *discovery.Service // as the source has it
	check   *discovery.EndpointCheck
	targets []probe.Target // of each endpoint; without a port: not checked
	// past is what was published before our own checks began; nil: nothing is
	// known, or it is out of date.
	past    *past
	seen    []probe.Status // of each endpoint, when it was judged last
	emitted *endpoints
}

// endpoints is what a record says of them.
type endpoints struct {
	counts  []discovery.ZoneCount
	carried []discovery.Endpoint
}

func endpointsOf(s *discovery.Service) *endpoints {
	return &endpoints{counts: slices.Clone(s.Counts), carried: slices.Clone(s.Endpoints)}
}

func sameEndpoints(e *endpoints, s *discovery.Service) bool {
	return e != nil && slices.Equal(e.counts, s.Counts) && slices.Equal(e.carried, s.Endpoints)
}

// newService takes over what was known of a service before it changed.
func newService(cluster string, record *discovery.Service, check *discovery.EndpointCheck, before *service) *service {
	n := len(check.Endpoints)
	s := &service{record: record, check: check, targets: make([]probe.Target, n), seen: make([]probe.Status, n)}
	name := record.Namespace + "/" + record.Name
	for i, e := range check.Endpoints {
		s.targets[i] = probe.Target{
			Cluster: cluster, Key: name, Addr: e.Addr, Port: e.Port,
			Check: check.Check, Secure: check.Secure, Path: check.Path,
		}
	}
	if before != nil {
		s.past = before.past
	}
	return s
}

// judge makes the record to publish, by what checks have found, and notes it as
// emitted. An endpoint is out only when a check says so: one of which nothing is
// known counts as its slice says, or as it was published before.
func (s *service) judge(found *probe.Snapshot) *discovery.Service {
	n := len(s.check.Endpoints)
	// What is ready for sure, and what may be.
	sure, maybe := make([]discovery.Endpoint, n), make([]discovery.Endpoint, n)
	for i, e := range s.check.Endpoints {
		sure[i], maybe[i] = e.Endpoint, e.Endpoint
		s.seen[i] = s.status(found, i)
		switch {
		case e.Port == 0:
		case s.seen[i] == probe.Down:
			sure[i].Ready, maybe[i].Ready = false, false
		case s.seen[i] == probe.Unknown:
			sure[i].Ready = false
		}
	}
	out := clone(s.record)
	export.Recount(out, maybe)
	if s.past != nil {
		least := clone(s.record)
		export.Recount(least, sure)
		s.past.settle(out.Counts, least.Counts)
	}
	s.emitted = endpointsOf(out)
	return out
}

// overtaken tells whether checks have found something else since.
func (s *service) overtaken(found *probe.Snapshot) bool {
	for i, was := range s.seen {
		if s.status(found, i) != was {
			return true
		}
	}
	return false
}

// status is our own verdict on an endpoint, or the one that was published.
func (s *service) status(found *probe.Snapshot, i int) probe.Status {
	if s.targets[i].Port == 0 {
		return probe.Unknown
	}
	status := found.State(s.targets[i]).Status
	if status == probe.Unknown && s.past != nil {
		return s.past.status[s.targets[i].Addr]
	}
	return status
}

// past is what was published of a service before our own checks began: of each
// endpoint, where the record carries them, and the counts where it doesn't carry
// all.
type past struct {
	status map[netip.Addr]probe.Status
	counts map[string]discovery.ZoneCount // by zone
}

func (e *endpoints) past() *past {
	p := &past{status: map[netip.Addr]probe.Status{}, counts: map[string]discovery.ZoneCount{}}
	for _, e := range e.carried {
		p.status[e.Addr] = probe.Down
		if e.Ready {
			p.status[e.Addr] = probe.Up
		}
	}
	total := 0
	for _, c := range e.counts {
		p.counts[c.Zone] = c
		total += int(c.Total)
	}
	if len(e.carried) >= total {
		clear(p.counts) // all is said; what isn't among them is new
	}
	return p
}

// settle keeps the ready counts at what was published, as far as our own
// verdicts allow: they are between what is ready for sure and what may be.
// Endpoints that came since count as ready. Both lists have the same zones.
func (p *past) settle(counts, least []discovery.ZoneCount) {
	for i := range counts {
		c := &counts[i]
		was, known := p.counts[c.Zone]
		if !known {
			continue
		}
		published := was.Ready
		if c.Total > was.Total {
			published += c.Total - was.Total
		}
		c.Ready = min(max(published, least[i].Ready), c.Ready)
	}
}

// clone copies a record: whoever gets an update owns all that is in it.
func clone(s *discovery.Service) *discovery.Service {
	out := *s
	out.Ports = slices.Clone(s.Ports)
	out.ClusterIPs = slices.Clone(s.ClusterIPs)
	out.Counts = slices.Clone(s.Counts)
	out.Aliases = slices.Clone(s.Aliases)
	out.Endpoints = slices.Clone(s.Endpoints)
	out.Gateways = slices.Clone(s.Gateways)
	for i := range out.Gateways {
		out.Gateways[i].Addresses = slices.Clone(s.Gateways[i].Addresses)
	}
	return &out
}
