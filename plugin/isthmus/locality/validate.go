package locality

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Bounds on a routing policy, generous for people and small for a hostile one.
const (
	// MaxFailover limits the regions that one fails over to. A tier each is
	// more than a client waits for.
	MaxFailover = 16
	// MaxRules limits the failover rules and the distribute rules, each: the
	// largest cloud has some 60 regions.
	MaxRules = 256
	// MaxPortions limits the patterns of a distribute rule. With weights of at
	// least 1 % there are at most 100.
	MaxPortions = 100
	// MaxOverrides limits what is looked through for each service that changes.
	MaxOverrides = 256
)

// FieldError says what is wrong with one field of a routing policy.
type FieldError struct {
	Path string // as `routing.distribute[1].to["us-*"]`
	Text string
}

// Error implements error.
func (e FieldError) Error() string { return e.Path + ": " + e.Text }

// Validate lists what is wrong, in the order of fields.
func (r *Routing) Validate() []FieldError {
	c := &checker{}
	c.rules("routing", &r.Rules)
	seen := map[string]string{}
	for i := range c.limit("routing.services", len(r.Services), MaxOverrides) {
		path := fmt.Sprintf("routing.services[%d]", i)
		c.match(path+".match", r.Services[i].Match)
		c.once(seen, r.Services[i].Match, path, path+".match")
		c.rules(path, &r.Services[i].Rules)
	}
	return c.wrong
}

type checker struct{ wrong []FieldError }

func (c *checker) add(path, format string, args ...any) {
	c.wrong = append(c.wrong, FieldError{Path: path, Text: fmt.Sprintf(format, args...)})
}

// limit is how many items of a list are looked at: all that are allowed.
func (c *checker) limit(path string, have, most int) int {
	if have > most {
		c.add(path, "has %d items, at most %d are allowed", have, most)
	}
	return min(have, most)
}

// once reports a value that stands at an earlier place already and so would
// never be used.
func (c *checker) once(seen map[string]string, value, place, path string) {
	if earlier, ok := seen[value]; ok {
		c.add(path, "is never used: %s has the same", earlier)
		return
	}
	seen[value] = place
}

func (c *checker) rules(path string, r *Rules) {
	c.failover(path+".failover", r.Failover)
	c.distribute(path+".distribute", r.Distribute)
	if r.Order != "" && r.Order != OrderLocality && r.Order != OrderLatency {
		c.add(path+".order", "%s is no order: want %s or %s", quote(string(r.Order)), OrderLocality, OrderLatency)
	}
	if r.Affinity != "" && r.Affinity != AffinityNone && r.Affinity != AffinityClient {
		c.add(path+".affinity", "%s is no affinity: want %s or %s", quote(string(r.Affinity)), AffinityNone, AffinityClient)
	}
}

func (c *checker) failover(path string, rules []Failover) {
	seen := map[string]string{}
	for i, f := range rules[:c.limit(path, len(rules), MaxRules)] {
		at := fmt.Sprintf("%s[%d]", path, i)
		c.region(at+".from", f.From)
		c.once(seen, f.From, at, at+".from")
		if len(f.To) == 0 {
			c.add(at+".to", "is empty: name the regions to fail over to")
		}
		regions := map[string]string{}
		for j, region := range f.To[:c.limit(at+".to", len(f.To), MaxFailover)] {
			to := fmt.Sprintf("%s.to[%d]", at, j)
			c.region(to, region)
			if region == f.From {
				c.add(to, "%s can't fail over to itself", quote(region))
			}
			c.once(regions, region, to, to)
		}
	}
}

// region checks the name of a region. Inside a region there is failover
// anyhow, so Istio allows no zones here either.
func (c *checker) region(path, region string) {
	if strings.ContainsAny(region, "/*") {
		c.add(path, "%s: want a region, without zone and wildcard", quote(region))
		return
	}
	if region == "" {
		c.add(path, "is empty: want a region")
		return
	}
	if _, err := discovery.ParseLocality(region); err != nil {
		c.add(path, "%v", err)
	}
}

func (c *checker) distribute(path string, rules []Distribute) {
	seen := map[string]string{}
	for i, d := range rules[:c.limit(path, len(rules), MaxRules)] {
		at := fmt.Sprintf("%s[%d]", path, i)
		c.pattern(seen, at+".from", at, d.From)
		if len(d.To) == 0 {
			c.add(at+".to", "is empty: name the localities and their weights")
			continue
		}
		if c.limit(at+".to", len(d.To), MaxPortions) == len(d.To) {
			c.portions(at+".to", d.To)
		}
	}
}

func (c *checker) portions(path string, to map[string]uint32) {
	seen := map[string]string{}
	sum, valid := uint64(0), true
	for _, text := range slices.Sorted(maps.Keys(to)) {
		at := path + "[" + quote(text) + "]"
		c.pattern(seen, at, at, text)
		weight := to[text]
		sum += uint64(weight)
		if weight < 1 || weight > 100 {
			c.add(at, "weight %d: want percent from 1 to 100; leave out what shall get nothing", weight)
			valid = false
		}
	}
	if valid && sum != 100 {
		c.add(path, "weights sum up to %d, want 100", sum)
	}
}

// pattern checks a pattern that stands in a list of patterns.
func (c *checker) pattern(seen map[string]string, path, place, text string) {
	p, err := ParsePattern(text)
	if err != nil {
		c.add(path, "%s %v", quote(text), err)
		return
	}
	// "a" and "a/*" are one pattern.
	c.once(seen, discovery.Locality(p).String(), place, path)
}

// match checks "namespace/name" with stars in it.
func (c *checker) match(path, text string) {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		c.add(path, "%s: want NAMESPACE/NAME, where * stands for any letters", quote(text))
		return
	}
	for _, part := range []string{namespace, name} {
		// With the shortest text for each star it must be a label, or nothing
		// can match.
		if err := discovery.ValidLabel(strings.ReplaceAll(part, "*", "x")); err != nil {
			c.add(path, "%s %v", quote(part), err)
		}
	}
}

// quote shows a hostile text in bounds.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}
