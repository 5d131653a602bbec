package isthmus

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

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
	lines := make([]string, len(order))
	for i, c := range order {
		lines[i] = whyLine(a.candidates[c], verdicts[c], &a.ways[c])
	}
	return q.text(lines)
}

// whyRank puts what is in before what stands by, and that before what is out.
func whyRank(v locality.Verdict) int {
	switch {
	case v.In:
		return 0
	case v.Tier == locality.TierOut:
		return locality.MaxPriorities + 1
	}
	return v.Priority + 1
}

// whyLine is the form that people read and `isthmus explain` shares:
//
//	east: in tier=3(other) share=60% ready=3/3 gateway=192.0.2.1 rule="…"
func whyLine(c locality.Candidate, v locality.Verdict, way *addresses) string {
	return fmt.Sprintf("%s: %s ready=%d/%d %s rule=%q", c.Cluster, v.Standing(), c.Ready, c.Total, whyWay(way), v.Rule())
}

func whyWay(way *addresses) string {
	what := "gateway="
	switch way.reach {
	case locality.ByService, locality.NoAddress:
		what = "address="
	case locality.ByEndpoint:
		what = "endpoints="
	}
	all := slices.Concat(way.v4, way.v6)
	if len(all) == 0 {
		return what + "-"
	}
	shown := make([]string, 0, whyAddresses+1)
	for _, ip := range all[:min(len(all), whyAddresses)] {
		shown = append(shown, ip.String())
	}
	if more := len(all) - len(shown); more > 0 {
		shown = append(shown, "+"+strconv.Itoa(more))
	}
	return what + strings.Join(shown, ",")
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
		lines = append(lines, clusterLine(s))
	}
	return q.text(lines)
}

func clusterLine(s discovery.ClusterState) string {
	gateways := 0
	for _, set := range s.Cluster.GatewaySets {
		gateways += len(set.Gateways)
	}
	return fmt.Sprintf("%s locality=%s network=%s version=%d.%d services=%d gateways=%d", s.Cluster.Name,
		cmp.Or(s.Cluster.Locality.String(), "-"), cmp.Or(s.Cluster.Network, "-"),
		s.Version.Epoch, s.Version.Seq, s.Services, gateways)
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
