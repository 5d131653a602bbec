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
	a = a.anew()
	order := a.order()
	order = order[:min(len(order), maxStrings)]
	lines := make([]string, len(order))
	for i, c := range order {
		lines[i] = whyLine(a.candidates[c], a.all.Verdicts[c], &a.ways[c], age(q.view.link, a.candidates[c].Cluster))
	}
	return q.text(lines)
}

// anew is what there is to answer with the newest round-trip times: those that
// decide nothing don't make what was built outdated.
func (a *answers) anew() *answers {
	f := *a.from.outlook.facts(a.view)
	f.gateways = a.from.link.Gateways()
	return a.from.build(a.entry, &f, a.records)
}

// order is that in which candidates are explained: the chosen ones first.
func (a *answers) order() []int {
	order := make([]int, len(a.candidates))
	for i := range order {
		order[i] = i
	}
	verdicts := a.all.Verdicts
	slices.SortStableFunc(order, func(x, y int) int {
		return cmp.Or(cmp.Compare(whyRank(verdicts[x]), whyRank(verdicts[y])), cmp.Compare(verdicts[y].Share, verdicts[x].Share))
	})
	return order
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
//	east: in tier=3(other) weight=2 share=40% ready=2/2 gateway=192.0.2.1 up=up rtt=41ms age=3s rule="…"
//
// Weight is the candidate's inside its tier, that of its SRV records before
// they are fitted into 16 bits.
func whyLine(c locality.Candidate, v locality.Verdict, way *addresses, age string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s ready=%d/%d %s=", c.Cluster, v.Standing(), c.Ready, c.Total, whyWay(way))
	end := fmt.Sprintf(" up=%s rtt=%s age=%s rule=%q", gatewayState(c, way), locality.RoundTrip(c.RTT), age, v.Rule())
	b.WriteString(whyAddrs(way, maxString-b.Len()-len(end)))
	b.WriteString(end)
	return b.String()
}

// whyWay names the kind of way.
func whyWay(way *addresses) string {
	switch way.reach {
	case locality.ByService, locality.NoAddress:
		return "address"
	case locality.ByEndpoint:
		return "endpoints"
	}
	return "gateway"
}

// gatewayState is that of the gateways that the way leads through, "-" if there
// is none.
func gatewayState(c locality.Candidate, way *addresses) string {
	switch {
	case way.reach == locality.ByGateway:
		return c.Gateway.String()
	case way.throughGateway():
		return locality.GatewayUnknown.String()
	}
	return "-"
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
func age(l link, cluster string) string {
	at, ok := l.Heard(cluster)
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
		lines = append(lines, clusterLine(s, age(q.view.link, s.Cluster.Name), q.gatewaysUp(s.Cluster)))
	}
	return q.text(lines)
}

// gatewaysUp counts a cluster's gateways, those of which any address is known to
// be up, and those of which nothing is known. The own cluster's are not checked.
func (q *query) gatewaysUp(c *discovery.Cluster) string {
	f := q.view.outlook.facts(q.where)
	total, up, unknown := 0, 0, 0
	for _, set := range c.GatewaySets {
		for i := range set.Gateways {
			g := foundGateway{Gateway: &set.Gateways[i], addrs: set.Gateways[i].Addresses}
			if len(g.addrs) == 0 && g.Hostname != "" {
				g.addrs, _ = q.view.names.knownAddrs(c.Name, g.Hostname)
			}
			f.ask(&g, c.Name, g.CheckPort(nil))
			total++
			switch g.gateway {
			case locality.GatewayUp:
				up++
			case locality.GatewayUnknown:
				unknown++
			}
		}
	}
	switch {
	case unknown == total:
		return fmt.Sprintf("unknown/%d", total)
	case unknown > 0:
		return fmt.Sprintf("%d/%d,unknown=%d", up, total, unknown)
	}
	return fmt.Sprintf("%d/%d", up, total)
}

// clusterLine is a cluster's line. What its owner chose freely gives way, so
// that a long locality hides nothing else.
func clusterLine(s discovery.ClusterState, age, gateways string) string {
	end := fmt.Sprintf(" version=%d.%d age=%s services=%d gateways=%s",
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
