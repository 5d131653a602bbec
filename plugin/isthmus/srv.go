package isthmus

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

const (
	// maxSRV limits the SRV records of one answer, the nearest first: 1,000
	// clusters with several ports would fill more than a message. 512 records
	// of 100 octets nearly fill one.
	maxSRV = 512
	// maxSRVAddresses limits the addresses in the additional section. A client
	// that misses one asks for it.
	maxSRVAddresses = 512
	// maxSRVItems limits what is drawn from: all that 1,000 clusters with four
	// ports have. A hostile cluster can add no more than its own 128.
	maxSRVItems = 4096
	// maxName is the length of the longest name as text, the last dot included
	// (RFC 1035 section 2.3.4: 255 octets on the wire). A longer one that
	// stands for a cluster is no name, and a message with it can't be read.
	maxName = 254
	// maxTargetZones is more than the zones that share a viewpoint; the oldest
	// gives way.
	maxTargetZones = 8
)

// targets is what SRV records of one zone say about each candidate.
type targets struct {
	zone    string
	names   []string // <cluster>.svc.ns.ZONE
	weights []uint16 // 0 for a candidate that is out
}

type targetList []*targets

// targetsIn returns the targets in a zone; they are built when first asked
// for, since most services are never asked for SRV.
func (a *answers) targetsIn(zone string) *targets {
	old := a.targets.Load()
	if old != nil {
		for _, t := range *old {
			if t.zone == zone {
				return t
			}
		}
	}
	t := &targets{zone: zone, names: make([]string, len(a.entry.Candidates)), weights: srvWeights(a.all.Verdicts)}
	for i, c := range a.entry.Candidates {
		t.names[i] = c.Cluster + "." + string(a.entry.Key) + "." + zone
	}
	list := targetList{t}
	if old != nil {
		list = append(list, (*old)[:min(len(*old), maxTargetZones-1)]...)
	}
	a.targets.CompareAndSwap(old, &list) // if it fails, the next query builds again
	return t
}

// srvWeights fits the weights of each tier into SRV's 16 bits. Weights whose
// sum fits stay as they are, which people can read; others are scaled so that
// their sum is 65,535, by largest remainders, and none becomes 0: RFC 2782
// gives that "a very small chance of being selected".
func srvWeights(verdicts []locality.Verdict) []uint16 {
	weights := make([]uint16, len(verdicts))
	var sums [locality.MaxPriorities]uint64
	var counts [locality.MaxPriorities]uint64
	for _, v := range verdicts {
		if v.Tier != locality.TierOut {
			sums[v.Priority] += v.Weight
			counts[v.Priority]++
		}
	}
	for priority, sum := range sums {
		if sum <= math.MaxUint16 {
			for i, v := range verdicts {
				if v.Tier != locality.TierOut && v.Priority == priority {
					weights[i] = uint16(v.Weight)
				}
			}
			continue
		}
		scaleTier(weights, verdicts, priority, sum, math.MaxUint16-counts[priority])
	}
	return weights
}

// scaleTier gives each candidate of a tier 1 and divides the rest among them
// in proportion.
func scaleTier(weights []uint16, verdicts []locality.Verdict, priority int, sum, rest uint64) {
	type part struct {
		index     int
		remainder uint64
	}
	var parts []part
	left := rest
	for i, v := range verdicts {
		if v.Tier == locality.TierOut || v.Priority != priority {
			continue
		}
		hi, lo := bits.Mul64(v.Weight, rest)
		quotient, remainder := bits.Div64(hi, lo, sum) // hi < sum since rest is below 2^16
		weights[i] = uint16(1 + quotient)
		left -= quotient
		parts = append(parts, part{i, remainder})
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(b.remainder, a.remainder) })
	for _, p := range parts[:left] {
		weights[p.index]++
	}
}

// srvItem is one SRV record before it is written.
type srvItem struct {
	candidate int
	port      uint16
	priority  int
	key       float64 // orders the items of a tier
}

// port answers _port._proto and _proto names: the names exist if a candidate
// has such a port.
func (q *query) port(a *answers, one int, n name) (*dns.Msg, result) {
	if !a.hasPort(one, n) {
		return nil, resultNXDomain
	}
	switch {
	case n.port == "":
		return nil, resultNoData // an empty non-terminal
	case q.qtype == dns.TypeSRV:
		return q.srv(a, one, n)
	case q.qtype == dns.TypeANY:
		return q.minimal()
	}
	return nil, resultNoData
}

func (a *answers) hasPort(one int, n name) bool {
	for i, c := range a.entry.Candidates {
		if one >= 0 && i != one {
			continue
		}
		for _, p := range c.Service.Ports {
			if n.matches(p) {
				return true
			}
		}
	}
	return false
}

// matches tells whether a port is meant by the name; a name without port and
// protocol means all.
func (n name) matches(p discovery.Port) bool {
	return (n.port == "" || n.port == p.Name) && (n.proto == "" || n.proto == p.Protocol.String())
}

// srv answers with the ports of all candidates, or of one: those of nearer
// tiers first, inside a tier in an order drawn by weight, so that a client
// which just takes the first record is balanced as well (RFC 2782).
func (q *query) srv(a *answers, one int, n name) (*dns.Msg, result) {
	t := a.targetsIn(q.zone.origin)
	var buffer [16]srvItem
	items := buffer[:0]
	for i, v := range a.all.Verdicts {
		if v.Tier == locality.TierOut || one >= 0 && i != one || len(t.names[i]) > maxName {
			continue
		}
		own := len(items) // where the candidate's begin
		for _, p := range a.entry.Candidates[i].Service.Ports {
			port := a.ways[i].port(p)
			if !n.matches(p) || len(items) == maxSRVItems || hasPort(items[own:], port) {
				continue
			}
			key := q.exponential() / float64(t.weights[i])
			items = append(items, srvItem{candidate: i, port: port, priority: v.Priority, key: key})
		}
	}
	if len(items) == 0 {
		if one >= 0 {
			return nil, a.nothingOf(one)
		}
		return nil, a.nothing()
	}
	slices.SortFunc(items, func(x, y srvItem) int {
		return cmp.Or(cmp.Compare(x.priority, y.priority), cmp.Compare(x.key, y.key))
	})
	return q.srvReply(a, t, items[:min(len(items), maxSRV)]), resultAnswer
}

// hasPort tells whether a port is there already: several of a service's ports
// may be one at the gateway, and the records of an RRset differ (RFC 2181
// section 5).
func hasPort(items []srvItem, port uint16) bool {
	for i := range items {
		if items[i].port == port {
			return true
		}
	}
	return false
}

// exponential draws from the exponential distribution. Sorting by such a
// number divided by the weight is the same as drawing by weight one after the
// other (Efraimidis and Spirakis, "Weighted random sampling with a
// reservoir").
func (q *query) exponential() float64 {
	uniform := (float64(q.random()>>11) + 1) / (1 << 53) // (0, 1]
	return -math.Log(uniform)
}
