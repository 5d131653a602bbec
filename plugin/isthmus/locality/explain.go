package locality

import (
	"fmt"
	"strconv"
	"time"
)

// Explain is the line that `isthmus explain` and the API show of a candidate:
//
//	east: in tier=3(other) weight=3 share=60% ready=3/3 way=gateway up=up rtt=41ms heard=fresh rule="…"
//
// _why shows the same Standing and Rule.
func Explain(c Candidate, v Verdict) string {
	up := "-"
	if c.Reach == ByGateway {
		up = c.Gateway.String()
	}
	return fmt.Sprintf("%s: %s ready=%d/%d way=%s up=%s rtt=%s heard=%s rule=%q", c.Cluster, v.Standing(), c.Ready, c.Total,
		c.Reach, up, RoundTrip(c.RTT), c.Freshness, v.Rule())
}

// RoundTrip is a time in explanations: in milliseconds, since a TXT record has no
// µ that everybody's terminal shows, with three digits; "-" if it was not
// measured.
func RoundTrip(d time.Duration) string {
	const least = 10 * time.Microsecond
	if d <= 0 {
		return "-"
	}
	ms := float64(max(d, least)) / float64(time.Millisecond)
	if ms >= 100 {
		return strconv.FormatFloat(ms, 'f', 0, 64) + "ms"
	}
	return strconv.FormatFloat(ms, 'g', 3, 64) + "ms"
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
