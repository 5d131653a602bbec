package replica

import (
	"sync"

	"github.com/isthmus-dns/isthmus/discovery"
)

const (
	// sharedLen is the longest list that is shared; few services have more
	// ports, or endpoints in more zones.
	sharedLen = 4
	// maxCommons bounds each kind of what is kept to be shared: with more
	// different ones than that, sharing saves little. 4,096 lists take 600 KiB.
	maxCommons = 4096
	// maxSharedString keeps long texts of a hostile cluster out.
	maxSharedString = 64
)

// commons gives equal parts of records one place in memory. Of 100,000
// services most have one of some dozen lists of ports, and endpoints in the
// zones of some regions: a third of what their records take decoded. What is
// shared is immutable, as all of a table is.
type commons struct {
	mu      sync.Mutex
	strings map[string]string                         // guarded by mu
	ports   map[[sharedLen]discovery.Port]portList    // guarded by mu
	counts  map[[sharedLen]discovery.ZoneCount]counts // guarded by mu
}

type (
	portList = []discovery.Port
	counts   = []discovery.ZoneCount
)

// common is the process's: records are equal whoever decodes them.
var common commons

// text returns an equal string.
func (c *commons) text(s string) string {
	if s == "" || len(s) > maxSharedString {
		return s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return canonical(&c.strings, s, s)
}

// portList returns an equal list, of ports that are valid.
func (c *commons) portList(list portList) portList {
	var key [sharedLen]discovery.Port // no port is zero, so that lengths differ
	if len(list) == 0 || copy(key[:], list) < len(list) {
		return list
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return canonical(&c.ports, key, list)
}

// countList returns an equal list.
func (c *commons) countList(list counts) counts {
	var key [sharedLen]discovery.ZoneCount
	if len(list) == 0 || copy(key[:], list) < len(list) {
		return list
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if shared := canonical(&c.counts, key, list); len(shared) == len(list) {
		return shared
	}
	return list // its last count is of no zone and no endpoint
}

// canonical returns what is kept under a key, or keeps v.
func canonical[K comparable, V any](kept *map[K]V, key K, v V) V {
	if old, ok := (*kept)[key]; ok {
		return old
	}
	if *kept == nil || len(*kept) >= maxCommons {
		*kept = map[K]V{} // what is in use comes back
	}
	(*kept)[key] = v
	return v
}
