package replica

import (
	"cmp"
	"fmt"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Publishable says why a cluster's own record can't be published; nil if it
// can. A publisher takes a record back that can't, so it is better asked before.
func Publishable(c *discovery.Cluster) error {
	value, err := encodeCluster(c)
	if most := DefaultLimits().RecordBytes; err == nil && len(value) > most {
		err = fmt.Errorf("the cluster's record takes %d octets, at most %d are allowed", len(value), most)
	}
	return cmp.Or(c.Validate(), err)
}
