package isthmus

import (
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
)

// sweep is what the resolver remembers of its last look at the table.
type sweep struct {
	seen   *discovery.ClusterState // the first cluster's; moves with every change of the table
	walked time.Time
	warned bool
}

// sweep takes up the host names that the table has and drops those that it has
// no longer. It does nothing when the table hasn't changed.
func (r *resolver) sweep(s *sweep) {
	clusters := r.table.Clusters()
	var first *discovery.ClusterState
	if len(clusters) > 0 {
		first = &clusters[0]
	}
	if first == s.seen || time.Since(s.walked) < walkServices {
		return
	}
	s.seen, s.walked = first, time.Now()
	full := r.keep(hostNames(r.table))
	if full && !s.warned {
		r.logger.Warn("too many gateway host names, those of clusters with most are not all resolved", "limit", maxNames)
	}
	s.warned = full
}

// keep takes the host names and whose they are, and tells whether there was no
// room for some since it was called last.
func (r *resolver) keep(hosts map[string]string) (full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for host, n := range r.names {
		var used bool
		if n.cluster, used = hosts[host]; !used {
			delete(r.names, host)
		}
	}
	for host, cluster := range hosts {
		if _, known := r.names[host]; !known {
			r.addLocked(cluster, host)
		}
	}
	full, r.full = r.full, false
	return full
}

// hostNames lists the host names of all gateways in a table, and one cluster
// that has each.
func hostNames(t *discovery.Table) map[string]string {
	hosts := map[string]string{}
	add := func(cluster string, gateways []discovery.Gateway) {
		for _, g := range gateways {
			if g.Hostname != "" && len(g.Addresses) == 0 {
				hosts[g.Hostname] = cluster
			}
		}
	}
	for _, c := range *t.Records() {
		for _, set := range c.GatewaySets {
			add(c.Name, set.Gateways)
		}
	}
	t.Walk(func(e *discovery.Entry) bool {
		for _, c := range e.Candidates {
			add(c.Cluster, c.Service.Gateways)
		}
		return true
	})
	return hosts
}
