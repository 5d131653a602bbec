package export

import (
	"fmt"
	"slices"

	"github.com/isthmus-dns/isthmus/discovery"
)

// The kinds of conflicts between clusters that export one name, by the names of
// KEP-1645's condition reasons.
const (
	ConflictType     = "TypeConflict"
	ConflictPort     = "PortConflict"
	ConflictAffinity = "SessionAffinityConflict"
)

// Conflict tells in what a cluster's record of a service differs from those of
// others: the reason and a sentence; "" when they agree. Candidates are those of
// one entry of the table. All sides are told, as KEP-1645 recommends: who wins
// (the oldest export, then the name that sorts first) stands in the sentence.
func Conflict(cluster string, candidates []discovery.Candidate) (reason, message string) {
	i := slices.IndexFunc(candidates, func(c discovery.Candidate) bool { return c.Cluster == cluster })
	if i < 0 {
		return "", ""
	}
	own, winner := candidates[i].Service, candidates[0]
	for _, c := range candidates[1:] {
		if older(c, winner) {
			winner = c
		}
	}
	for _, differs := range []struct {
		reason, what string
		in           func(*discovery.Service) bool
	}{
		{ConflictType, "type (headless or not)", func(s *discovery.Service) bool {
			return (s.Kind == discovery.KindHeadless) != (own.Kind == discovery.KindHeadless)
		}},
		{ConflictPort, "ports", func(s *discovery.Service) bool { return !samePorts(s, own) }},
		{ConflictAffinity, "session affinity", func(s *discovery.Service) bool { return s.ClientAffinity != own.ClientAffinity }},
	} {
		for _, c := range candidates {
			if differs.in(c.Service) {
				return differs.reason, fmt.Sprintf("%s: cluster %s has another than %s; where only one can count, it is that of %s, which exported first",
					differs.what, c.Cluster, cluster, winner.Cluster)
			}
		}
	}
	return "", ""
}

// older tells whether a candidate wins against another. An export of unknown
// age loses.
func older(x, y discovery.Candidate) bool {
	a, b := x.Service.ExportedAt, y.Service.ExportedAt
	if a == b {
		return x.Cluster < y.Cluster
	}
	return b == 0 || a != 0 && a < b
}

// samePorts compares what clients see of ports: at the service itself, in any
// order.
func samePorts(x, y *discovery.Service) bool {
	if len(x.Ports) != len(y.Ports) {
		return false
	}
	for _, p := range x.Ports {
		if !slices.ContainsFunc(y.Ports, func(q discovery.Port) bool {
			return p.Name == q.Name && p.Protocol == q.Protocol && p.Port == q.Port
		}) {
			return false
		}
	}
	return true
}
