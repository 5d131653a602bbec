package locality

import (
	"fmt"
	"time"
)

// Explain is the line that `isthmus explain` and the API show of a candidate:
//
//	east: in tier=3(other) weight=3 share=60% ready=3/3 way=gateway up=up rtt=41ms heard=fresh rule="…"
//
// _why shows the same Standing and Rule.
func Explain(c Candidate, v Verdict) string {
	up, rtt := "-", "-"
	if c.Reach == ByGateway {
		up = c.Gateway.String()
	}
	if c.RTT > 0 {
		rtt = c.RTT.Round(100 * time.Microsecond).String()
	}
	return fmt.Sprintf("%s: %s ready=%d/%d way=%s up=%s rtt=%s heard=%s rule=%q", c.Cluster, v.Standing(), c.Ready, c.Total,
		c.Reach, up, rtt, c.Freshness, v.Rule())
}

// String is the way's name in explanations.
func (r Reach) String() string {
	switch r {
	case ByService:
		return "service"
	case ByEndpoint:
		return "endpoint"
	case ByGateway:
		return "gateway"
	}
	return "none"
}
