package locality

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Policy is what is decided by for one service, compiled and immutable. Its
// zero value is the default: tiers by locality, no affinity.
type Policy struct {
	failover   []Failover
	distribute []distribution // the most specific first
	latency    bool
	affinity   bool
}

// distribution is a distribute rule.
type distribution struct {
	from Pattern
	to   []portion // the most specific first
}

// portion is what one pattern of a distribute rule gets.
type portion struct {
	pattern Pattern
	weight  uint32
	text    string // as it was written, for explanations
}

// Policies are the policies of all services, compiled and immutable. A nil
// *Policies has the default for all.
type Policies struct {
	base      Policy
	overrides []override
}

type override struct {
	namespace, name string
	policy          Policy
}

// Compile checks a routing policy and makes it fit for use. The error is of
// all FieldErrors that Validate finds.
func Compile(r Routing) (*Policies, error) {
	if wrong := r.Validate(); len(wrong) > 0 {
		all := make([]error, len(wrong))
		for i := range wrong {
			all[i] = wrong[i]
		}
		return nil, errors.Join(all...)
	}
	p := &Policies{base: compile(r.Rules)}
	for i := range r.Services {
		o := &r.Services[i]
		namespace, name, _ := strings.Cut(o.Match, "/")
		p.overrides = append(p.overrides, override{namespace, name, compile(o.merged(r.Rules))})
	}
	return p, nil
}

// For is the policy of a service: that of the first override that matches, else
// the one for all. It doesn't allocate.
func (p *Policies) For(key discovery.Key) Policy {
	if p == nil {
		return Policy{}
	}
	name, namespace, _ := strings.Cut(string(key), ".")
	for i := range p.overrides {
		if o := &p.overrides[i]; glob(o.namespace, namespace) && glob(o.name, name) {
			return o.policy
		}
	}
	return p.base
}

// compile makes a policy of rules that are valid.
func compile(r Rules) Policy {
	p := Policy{latency: r.Order == OrderLatency, affinity: r.Affinity == AffinityClient}
	for _, f := range r.Failover {
		p.failover = append(p.failover, Failover{From: f.From, To: slices.Clone(f.To)})
	}
	for _, d := range r.Distribute {
		rule := distribution{}
		rule.from, _ = ParsePattern(d.From)
		for text, weight := range d.To {
			pattern, _ := ParsePattern(text)
			rule.to = append(rule.to, portion{pattern, weight, fmt.Sprintf("%s: %d", clip(text), weight)})
		}
		// The order is also that in which Pick's range is divided, so it must
		// not be the map's.
		slices.SortFunc(rule.to, func(a, b portion) int {
			return cmp.Or(cmp.Compare(b.pattern.specific(), a.pattern.specific()), cmp.Compare(a.text, b.text))
		})
		p.distribute = append(p.distribute, rule)
	}
	slices.SortStableFunc(p.distribute, func(a, b distribution) int {
		return cmp.Compare(b.from.specific(), a.from.specific())
	})
	return p
}

// clip keeps an explanation in the bounds of a TXT record's string.
func clip(text string) string {
	const most = 64
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}

// failoverFrom lists the regions to fail over to.
func (p *Policy) failoverFrom(region string) []string {
	for i := range p.failover {
		if same(p.failover[i].From, region) {
			return p.failover[i].To
		}
	}
	return nil
}

// distributeFrom is what a distribute rule says for a viewer; nil if none does.
func (p *Policy) distributeFrom(l discovery.Locality) []portion {
	for i := range p.distribute {
		if p.distribute[i].from.Match(l) {
			return p.distribute[i].to
		}
	}
	return nil
}

// match is the pattern that a locality belongs to, -1 for none.
func match(to []portion, l discovery.Locality) int {
	for i := range to {
		if to[i].pattern.Match(l) {
			return i
		}
	}
	return -1
}
