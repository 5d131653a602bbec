package isthmus

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strconv"

	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

const (
	// maxName is the length of the longest name as text, the last dot included
	// (RFC 1035 section 2.3.4: 255 octets on the wire). A longer one that
	// stands for a cluster is no name, and a message with it can't be read.
	maxName = 254
	// maxTargetZones is more than the zones that share a viewpoint; the oldest
	// gives way.
	maxTargetZones = 8
)

// target is what the SRV and SVCB records of one zone say of a candidate, or of
// those of its gateways that listen on one port.
type target struct {
	name   string
	weight uint16 // inside its tier; 0 when it can't be answered
	port   uint16 // the gateways' own
	way    *addresses
}

// targets are those of all candidates of a service.
type targets struct {
	zone  string
	whole []target // <cluster>.svc.ns.ZONE, in the order of candidates
	// parts are <port>.gateway.<cluster>.svc.ns.ZONE: for each candidate whose
	// gateways listen on different ports, one for each port. Nil where there is
	// no such candidate.
	parts [][]target
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
	t := a.buildTargets(zone)
	list := targetList{t}
	if old != nil {
		list = append(list, (*old)[:min(len(*old), maxTargetZones-1)]...)
	}
	a.targets.CompareAndSwap(old, &list) // if it fails, the next query builds again
	return t
}

func (a *answers) buildTargets(zone string) *targets {
	t := &targets{zone: zone, whole: make([]target, len(a.ways))}
	for i, c := range a.entry.Candidates {
		way := &a.ways[i]
		name := c.Cluster + "." + string(a.entry.Key) + "." + zone
		if way.partial {
			name = a.scope.prefix() + name
		}
		t.whole[i] = target{name: name, port: way.gatewayPort, way: way}
		if len(way.ports) == 0 {
			continue
		}
		if t.parts == nil {
			t.parts = make([][]target, len(a.ways))
		}
		t.parts[i] = make([]target, len(way.ports))
		for j := range way.ports {
			p := &way.ports[j]
			t.parts[i][j] = target{name: strconv.Itoa(int(p.port)) + "." + labelGatewayPort + "." + name, port: p.port, way: &p.way}
		}
	}
	for priority := range locality.MaxPriorities {
		t.weigh(priority, a.all.Verdicts)
	}
	return t
}

// weigh gives the targets of a tier their weights: a candidate's is divided
// among its gateways in proportion to theirs.
func (t *targets) weigh(priority int, verdicts []locality.Verdict) {
	factor := t.factor(priority, verdicts)
	var weights []uint64
	var of []*target
	for i, v := range verdicts {
		if !inTier(v, priority) {
			continue
		}
		if t.parts == nil || t.parts[i] == nil {
			weights, of = append(weights, v.Weight*factor), append(of, &t.whole[i])
			continue
		}
		ports, total := t.whole[i].way.ports, t.whole[i].gatewayWeight()
		for j := range ports {
			if ports[j].weight == 0 {
				continue // it has no address; if none has, the total is 0 as well
			}
			hi, lo := bits.Mul64(v.Weight*factor, ports[j].weight)
			quotient, _ := bits.Div64(hi, lo, total) // hi < total since a part is at most the total
			weights, of = append(weights, max(quotient, 1)), append(of, &t.parts[i][j])
		}
	}
	for k, w := range fitWeights(weights) {
		of[k].weight = w
	}
	for i, v := range verdicts {
		if inTier(v, priority) && t.parts != nil {
			for _, part := range t.parts[i] {
				t.whole[i].weight += part.weight
			}
		}
	}
}

// inTier tells whether a candidate is in the tier of a priority.
func inTier(v locality.Verdict, priority int) bool {
	return v.Tier != locality.TierOut && v.Priority == priority
}

func (t *target) gatewayWeight() uint64 {
	var total uint64
	for i := range t.way.ports {
		total += t.way.ports[i].weight
	}
	return total
}

// factor is what the weights of a tier are multiplied by before they are
// divided. It is the smallest that leaves no remainder, so that small weights
// stay such that people can read them, or, if their sum didn't fit then, one
// that keeps all the precision that a record has.
func (t *targets) factor(priority int, verdicts []locality.Verdict) uint64 {
	var sum uint64
	for _, v := range verdicts {
		if inTier(v, priority) {
			sum += v.Weight
		}
	}
	if t.parts == nil || sum == 0 || sum > math.MaxUint16 {
		return 1
	}
	factor := uint64(1)
	for i, v := range verdicts {
		if !inTier(v, priority) {
			continue
		}
		total := t.whole[i].gatewayWeight()
		if total == 0 {
			continue
		}
		for j := range t.whole[i].way.ports {
			// 16 bits times 26 (64 gateways of discovery.MaxWeight) fit.
			whole := total / gcd(total, v.Weight*t.whole[i].way.ports[j].weight)
			factor = factor / gcd(factor, whole) * whole
			if factor > math.MaxUint16/sum {
				return math.MaxUint16 + 1
			}
		}
	}
	return factor
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// fitWeights fits the weights of a tier into SRV's 16 bits. Weights whose sum
// fits stay as they are; others are scaled so that their sum is 65,535, by
// largest remainders, and none becomes 0: RFC 2782 gives that "a very small
// chance of being selected".
func fitWeights(weights []uint64) []uint16 {
	var sum uint64
	for _, w := range weights {
		sum += w
	}
	fitted := make([]uint16, len(weights))
	if sum <= math.MaxUint16 {
		for i, w := range weights {
			fitted[i] = uint16(w)
		}
		return fitted
	}
	return scaleWeights(fitted, weights, sum, math.MaxUint16-uint64(len(weights)))
}

// scaleWeights gives each 1 and divides the rest among them in proportion.
func scaleWeights(fitted []uint16, weights []uint64, sum, rest uint64) []uint16 {
	remainders := make([]uint64, len(weights))
	order := make([]int, len(weights))
	left := rest
	for i, w := range weights {
		hi, lo := bits.Mul64(w, rest)
		quotient, remainder := bits.Div64(hi, lo, sum) // hi < sum since rest is below 2^16
		fitted[i] = uint16(1 + quotient)
		left -= quotient
		remainders[i], order[i] = remainder, i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(remainders[b], remainders[a]) })
	for _, i := range order[:left] {
		fitted[i]++
	}
	return fitted
}
