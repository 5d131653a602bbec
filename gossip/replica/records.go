package replica

import (
	"fmt"

	"github.com/isthmus-dns/isthmus/discovery"
)

// update is what leads the table from one part to another. A record that does
// not decode or breaks a bound is left out, as if its service were not
// exported: it is the fault of its owner and harms nobody else.
func (s *store) update(cluster string, from, to *part) discovery.Update {
	var u discovery.Update
	changed, removed := diff(from, to)
	for _, it := range changed {
		key, isService := parseServiceKey(it.key)
		switch {
		case it.key == clusterKey:
			record, err := decodeCluster(cluster, it.value)
			if err != nil {
				s.refuse(cluster, err)
				continue
			}
			u.Cluster = record
		case isService:
			service, err := decodeService(key, it.value)
			if err != nil {
				s.refuse(cluster, fmt.Errorf("%s: %w", it.key, err))
				u.Removed = append(u.Removed, key)
				continue
			}
			u.Services = append(u.Services, service)
		}
	}
	for _, k := range removed {
		if key, ok := parseServiceKey(k); ok {
			u.Removed = append(u.Removed, key)
		}
	}
	return u
}
