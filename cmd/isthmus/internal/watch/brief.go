package watch

import (
	"fmt"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery/probe"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// briefRouting says in a line how a routing policy differs from the default.
func briefRouting(r locality.Routing) string {
	var parts []string
	count := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s (%d)", what, n))
		}
	}
	count(len(r.Failover), "failover")
	count(len(r.Distribute), "distribute")
	if r.Order == locality.OrderLatency {
		parts = append(parts, "order latency")
	}
	if r.Affinity == locality.AffinityClient {
		parts = append(parts, "affinity client")
	}
	count(len(r.Services), "services")
	if len(parts) == 0 {
		return "default"
	}
	return strings.Join(parts, ", ")
}

func briefHealth(h probe.Health) string {
	return fmt.Sprintf("every %s, timeout %s, down after %d, up after %d", h.Interval, h.Timeout, h.Unhealthy, h.Healthy)
}
