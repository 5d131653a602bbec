package replica

import (
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
)

// clusterKey is the key of a cluster's own record in its part.
const clusterKey = "c"

// serviceKey is the key of a service's record.
func serviceKey(k discovery.Key) string {
	namespace, name := k.Split()
	return "s/" + namespace + "/" + name
}

// parseServiceKey is the inverse; ok is false for keys of other kinds.
func parseServiceKey(key string) (k discovery.Key, ok bool) {
	rest, ok := strings.CutPrefix(key, "s/")
	if !ok {
		return "", false
	}
	namespace, name, ok := strings.Cut(rest, "/")
	return discovery.MakeKey(namespace, name), ok
}
