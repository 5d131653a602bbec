package isthmus

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

const (
	// maxString is the length of one string in a TXT record (RFC 1035
	// section 3.3.14).
	maxString = 255
	// maxStrings limits the records of one answer: more do not fit a message.
	maxStrings = 256
	// whyAddresses is how many addresses a line shows.
	whyAddresses = 3
)

// why answers _why names: a line about each candidate, the chosen ones first.
func (q *query) why(a *answers) (*dns.Msg, result) {
	if q.qtype == dns.TypeANY {
		return q.minimal()
	}
	if q.qtype != dns.TypeTXT {
		return nil, resultNoData
	}
	order := make([]int, len(a.candidates))
	for i := range order {
		order[i] = i
	}
	verdicts := a.all.Verdicts
	slices.SortStableFunc(order, func(x, y int) int {
		return cmp.Or(cmp.Compare(whyRank(verdicts[x]), whyRank(verdicts[y])), cmp.Compare(verdicts[y].Share, verdicts[x].Share))
	})
	order = order[:min(len(order), maxStrings)]
	lines := make([]string, len(order))
	for i, c := range order {
		lines[i] = whyLine(a.candidates[c], verdicts[c], &a.ways[c], q.age(a.candidates[c].Cluster))
	}
	return q.text(lines)
}

// whyRank puts what is in before what stands by, and that before what is out.
func whyRank(v locality.Verdict) locality.Tier {
	switch {
	case v.In:
		return 0
	case v.Tier == locality.TierOut:
		return locality.Tiers + 1
	}
	return v.Tier + 1
}

// whyLine is the form that people read and `isthmus explain` shares:
//
//	east: in tier=3(other) weight=2 share=40% ready=2/2 gateway=192.0.2.1 up=unknown rtt=- age=3s rule="…"
//
// Weight is the candidate's inside its tier, that of its SRV records before
// they are fitted into 16 bits. Gateways are not probed yet: of all that lead
// through one up is "unknown" and the round-trip time "-".
func whyLine(c locality.Candidate, v locality.Verdict, way *addresses, age string) string {
	var b strings.Builder
	b.WriteString(c.Cluster)
	switch {
	case v.In:
		fmt.Fprintf(&b, ": in tier=%d(%s) weight=%d share=%s%%", int(v.Tier), v.Tier, v.Weight, strconv.FormatFloat(v.Share*100, 'g', 3, 64))
	case v.Tier == locality.TierOut:
		b.WriteString(": out weight=0")
	default:
		fmt.Fprintf(&b, ": standby tier=%d(%s) weight=%d", int(v.Tier), v.Tier, v.Weight)
	}
	fmt.Fprintf(&b, " ready=%d/%d ", c.Ready, c.Total)
	what, up := whyWay(way)
	b.WriteString(what)
	end := fmt.Sprintf(" up=%s rtt=- age=%s rule=%q", up, age, v.Reason)
	b.WriteString(whyAddrs(way, maxString-b.Len()-len(end)))
	b.WriteString(end)
	return b.String()
}

// whyWay names the kind of way, and the state of the gateway that it leads
// through, "-" if there is none.
func whyWay(way *addresses) (what, up string) {
	switch way.reach {
	case locality.ByService, locality.NoAddress:
		return "address=", "-"
	case locality.ByEndpoint:
		return "endpoints=", "-"
	case locality.NoGateway:
		return "gateway=", "-"
	}
	return "gateway=", "unknown"
}

// whyAddrs lists the first addresses, as many as have room, and the number of
// the others.
func whyAddrs(way *addresses, room int) string {
	all := slices.Concat(way.v4, way.v6)
	if len(all) == 0 {
		return "-"
	}
	var shown string
	for n := range min(len(all), whyAddresses) + 1 {
		var parts []string
		for _, ip := range all[:n] {
			parts = append(parts, ip.String())
		}
		if n < len(all) {
			parts = append(parts, "+"+strconv.Itoa(len(all)-n))
		}
		text := strings.Join(parts, ",")
		if n > 0 && len(text) > room {
			break
		}
		shown = text
	}
	return shown
}

// age is the time since a cluster was last heard of, in whole seconds.
func (q *query) age(cluster string) string {
	at, ok := q.view.link.Heard(cluster)
	if !ok {
		return "unknown"
	}
	return time.Since(at).Truncate(time.Second).String()
}

// clusters answers _clusters.ZONE: a line about each cluster.
func (q *query) clusters() (*dns.Msg, result) {
	if q.qtype == dns.TypeANY {
		return q.minimal()
	}
	states := q.view.link.Table().Clusters()
	if q.qtype != dns.TypeTXT || len(states) == 0 {
		return nil, resultNoData
	}
	lines := make([]string, 0, min(len(states), maxStrings))
	for _, s := range states[:cap(lines)] {
		lines = append(lines, clusterLine(s, q.age(s.Cluster.Name)))
	}
	return q.text(lines)
}

// clusterLine is a cluster's line. What its owner chose freely gives way, so
// that a long locality hides nothing else. Gateways are not probed yet: how
// many are up is unknown.
func clusterLine(s discovery.ClusterState, age string) string {
	gateways := 0
	for _, set := range s.Cluster.GatewaySets {
		gateways += len(set.Gateways)
	}
	end := fmt.Sprintf(" version=%d.%d age=%s services=%d gateways=unknown/%d",
		s.Version.Epoch, s.Version.Seq, age, s.Services, gateways)
	start := fmt.Sprintf("%s locality=%s network=%s", s.Cluster.Name,
		cmp.Or(s.Cluster.Locality.String(), "-"), cmp.Or(s.Cluster.Network, "-"))
	if room := maxString - len(end); len(start) > room {
		start = start[:room-len("...")] + "..."
	}
	return start + end
}

// text answers with one TXT record a line.
func (q *query) text(lines []string) (*dns.Msg, result) {
	lines = lines[:min(len(lines), maxStrings)]
	rrs := make([]dns.RR, len(lines))
	for i, line := range lines {
		rrs[i] = &dns.TXT{Hdr: q.header(dns.TypeTXT), Txt: []string{line[:min(len(line), maxString)]}}
	}
	return q.records(rrs...)
}
