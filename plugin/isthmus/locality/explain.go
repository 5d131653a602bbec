package locality

import (
	"fmt"
	"strings"
	"time"
)

// Explain is the line that `isthmus explain` and the API show of a candidate:
//
//	east: in tier=3(other) share=60% ready=3/3 weight=3 way=gateway gateway=up rtt=41ms fresh rule="…"
//
// _why shows the same Standing and Rule with the addresses instead of the way.
func Explain(c Candidate, v Verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s ready=%d/%d weight=%d way=%s", c.Cluster, v.Standing(), c.Ready, c.Total, v.Weight, c.Reach)
	if c.Reach == ByGateway {
		fmt.Fprintf(&b, " gateway=%s", c.Gateway)
	}
	if c.RTT > 0 {
		fmt.Fprintf(&b, " rtt=%s", c.RTT.Round(100*time.Microsecond))
	}
	fmt.Fprintf(&b, " %s rule=%q", c.Freshness, v.Rule())
	return b.String()
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
