package locality

import "math/bits"

// Shares of all answers are whole numbers of 1/one: sums are exact, so that no
// tier gets a crumb that rounding left over, and the order of candidates can't
// show in them.
const one = 1 << 62

// Envoy's overprovisioning factor, 1.4, as a fraction: a group of endpoints is
// taken to carry its whole load until less than 1/1.4 = 71.4 % of them are
// ready.
const (
	overprovisionNum = 7
	overprovisionDen = 5
)

// group is a set of candidates that are loaded together: a tier, or the
// candidates of a distribute rule's pattern in a tier.
type group struct {
	healthy, total uint64 // endpoints: those that may be answered, and all
	weight         uint64 // the sum of the weights of those that may be answered
	begin, load    uint64 // its part of the answers, in 1/one
}

// health is how much of its load a group can carry, from 0 to one:
//
//	health(P) = min(100 %, 1.4 × healthy(P) / total(P))
//
// It is rounded up, so that groups which together just suffice do.
func health(healthy, total uint64) uint64 {
	num, den := overprovisionNum*healthy, overprovisionDen*total
	if num >= den {
		return one * min(healthy, 1)
	}
	hi, lo := bits.Mul64(num, one)
	q, r := bits.Div64(hi, lo, den) // hi < den since num < den
	return q + min(r, 1)
}

// scale is x × num / den, rounded down; x × num / den must fit.
func scale(x, num, den uint64) uint64 {
	hi, lo := bits.Mul64(x, num)
	q, _ := bits.Div64(hi, lo, den)
	return q
}

// spill divides load among groups in their order. Each takes what its health
// lets it; what is left goes to the next. When all together are not healthy
// enough, they are loaded in proportion to their health. It is Envoy's
// algorithm ("Priority levels" in the architecture overview):
//
//	total = min(100 %, Σ health(P))
//	load(P) = min(100 % − Σ load of those before, health(P) / total)
func spill(groups []group, begin, load uint64) {
	var total uint64
	for i := range groups {
		total = min(total+health(groups[i].healthy, groups[i].total), one)
	}
	if total == 0 {
		return
	}
	var sum, done uint64 // of healths, and of the load given
	for i := range groups {
		sum = min(sum+health(groups[i].healthy, groups[i].total), total)
		upTo := scale(load, sum, total)
		groups[i].begin, groups[i].load = begin+done, upTo-done
		done = upTo
	}
}

// distribute divides all answers among the patterns of a distribute rule, by
// Envoy's algorithm for weighted localities ("Locality weighted load
// balancing"):
//
//	effective(L) = weight(L) × min(100 %, 1.4 × healthy(L) / total(L))
//	load(L) = effective(L) / Σ effective
//
// groups are two for each pattern: its candidates, and those of them that are
// silent, among which the pattern's load spills. It tells whether any pattern
// has candidates.
func distribute(groups []group, to []portion) bool {
	effective := make([]uint64, len(to))
	var total uint64
	for i := range to {
		a, b := &groups[2*i], &groups[2*i+1]
		// Of a product's bits 14 are given up, so that the sum over all
		// patterns, each 100 at most, fits.
		effective[i] = uint64(to[i].weight) * (health(a.healthy+b.healthy, a.total+b.total) >> 14)
		total += effective[i]
	}
	if total == 0 {
		return false
	}
	var sum, done uint64
	for i := range to {
		sum += effective[i]
		upTo := scale(one, sum, total)
		spill(groups[2*i:2*i+2], done, upTo-done)
		done = upTo
	}
	return true
}
