package export

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/discovery"
)

// ClusterLocality derives where a cluster runs from the topology labels of
// its nodes: the commonest region (of equals the first by name), and the zone
// only if all nodes that name one name the same, as a cluster that spans
// zones is not in any of them. The zero Locality when no node names a region.
func ClusterLocality(nodes []*corev1.Node) discovery.Locality {
	regions := map[string]int{}
	zone, zones := "", 0
	for _, node := range nodes {
		if node == nil {
			continue
		}
		if region := labelValue(node.Labels[corev1.LabelTopologyRegion]); region != "" {
			regions[region]++
		}
		if z := labelValue(node.Labels[corev1.LabelTopologyZone]); z != "" && (zones == 0 || z != zone) {
			zone = z
			zones++
		}
	}
	var out discovery.Locality
	for region, n := range regions {
		if best := regions[out.Region]; n > best || n == best && region < out.Region {
			out.Region = region
		}
	}
	if out.Region != "" && zones == 1 && len(regions) == 1 {
		out.Zone = zone
	}
	return out
}
