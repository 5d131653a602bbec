package isthmus

import (
	"cmp"
	"math"
	"slices"
	"strconv"

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
	// ports have.
	maxSRVItems = 4096
	// maxOwnItems limits what one cluster adds to that, which a hostile one
	// might drive to all ports times all gateways.
	maxOwnItems = discovery.MaxPorts
)

// srvItem is one SRV or SVCB record before it is written.
type srvItem struct {
	target   *target
	port     uint16
	priority int     // the number of the candidate's tier
	key      float64 // orders the items of a tier
}

// port answers _port._proto and _proto names: the names exist if a candidate
// has such a port.
func (q *query) port(a *answers, one int, n name) (*dns.Msg, result) {
	if !a.hasPort(one, n) {
		return nil, resultNXDomain
	}
	web := n.proto == labelHTTPS[1:]
	switch {
	case n.port == "":
		return nil, resultNoData // an empty non-terminal
	case web && q.qtype == dns.TypeHTTPS:
		return q.https(a, one, n)
	case web && (q.qtype != dns.TypeANY || !a.hasHTTPS(one, n)):
		return nil, resultNoData
	case q.qtype == dns.TypeSRV:
		return q.srv(a, one, n)
	case q.qtype == dns.TypeSVCB:
		return q.svcb(a, one, n)
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
		for k := range c.Service.Ports {
			if n.names(&c.Service.Ports[k]) {
				return true
			}
		}
	}
	return false
}

// names tells whether a port makes a name exist. One without a name of its own
// is found by its number alone.
func (n *name) names(p *discovery.Port) bool {
	return (p.Name != "" || n.proto == labelHTTPS[1:]) && n.matches(p)
}

// matches tells whether a port is meant by the name; a name without port and
// protocol means all.
func (n *name) matches(p *discovery.Port) bool {
	if n.proto == labelHTTPS[1:] {
		return p.Protocol == discovery.TCP && (n.port == "" || isNumber(n.port, p.Port))
	}
	return (n.port == "" || n.port == p.Name) && (n.proto == "" || n.proto == p.Protocol.String())
}

// isNumber tells whether a label is a port as a decimal number, which has one
// form only: "080" would be a second name for "80".
func isNumber(label string, port uint16) bool {
	var digits [5]byte
	return label == string(strconv.AppendUint(digits[:0], uint64(port), 10))
}

// srv answers with the ports of all candidates, or of one: those of nearer
// tiers first, inside a tier in an order drawn by weight, so that a client
// which just takes the first record is balanced as well (RFC 2782).
func (q *query) srv(a *answers, one int, n name) (*dns.Msg, result) {
	t := a.targetsIn(q.zone.origin)
	var buffer [16]srvItem
	items := buffer[:0]
	for i, v := range a.all.Verdicts {
		if v.Tier == locality.TierOut || one >= 0 && i != one {
			continue
		}
		own := len(items) // where the candidate's begin
		ports := a.entry.Candidates[i].Service.Ports
		for k := range ports {
			if n.matches(&ports[k]) {
				items = q.offer(items, own, t, i, &ports[k], v.Priority)
			}
		}
		q.stale = q.stale || v.Stale && len(items) > own
	}
	if len(items) == 0 {
		return nil, a.nothingAt(one)
	}
	return q.srvReply(ranked(items)), resultAnswer
}

// offer adds the records of one port of a candidate whose records begin at own:
// one, or one for each port that its gateways listen on for it.
func (q *query) offer(items []srvItem, own int, t *targets, i int, p *discovery.Port, priority int) []srvItem {
	whole := &t.whole[i]
	if !whole.way.divided(p) {
		return q.add(items, own, whole, whole.way.port(p), priority)
	}
	for j := range t.parts[i] {
		part := &t.parts[i][j]
		items = q.add(items, own, part, portAt(part.port, p), priority)
	}
	return items
}

// add adds one record unless it is there already: several of a service's ports
// may be one at the gateway, and the records of an RRset differ (RFC 2181
// section 5).
func (q *query) add(items []srvItem, own int, to *target, port uint16, priority int) []srvItem {
	if to.weight == 0 || len(to.name) > maxName || len(items) == maxSRVItems || len(items)-own == maxOwnItems {
		return items
	}
	for i := own; i < len(items); i++ {
		if items[i].port == port && items[i].target == to {
			return items
		}
	}
	key := q.exponential() / float64(to.weight)
	return append(items, srvItem{target: to, port: port, priority: priority, key: key})
}

// ranked puts records in the order of an answer and keeps what fits one.
func ranked(items []srvItem) []srvItem {
	slices.SortFunc(items, func(x, y srvItem) int {
		return cmp.Or(cmp.Compare(x.priority, y.priority), cmp.Compare(x.key, y.key))
	})
	return items[:min(len(items), maxSRV)]
}

// exponential draws from the exponential distribution. Sorting by such a
// number divided by the weight is the same as drawing by weight one after the
// other (Efraimidis and Spirakis, "Weighted random sampling with a
// reservoir").
func (q *query) exponential() float64 {
	uniform := (float64(q.random()>>11) + 1) / (1 << 53) // (0, 1]
	return -math.Log(uniform)
}
