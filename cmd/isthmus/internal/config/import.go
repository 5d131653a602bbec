package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-dns/isthmus/gossip/replica"
	"go.yaml.in/yaml/v3"
)

// imports reads which clusters are accepted, and how much of each.
func (d *decoder) imports(im *replica.Import, n *yaml.Node, path string) {
	d.object(n, path,
		field{"clusters", func(n *yaml.Node, path string) {
			d.object(n, path, field{"allow", d.only(&im.Allow, "every cluster")}, field{"deny", d.patterns(&im.Deny)})
		}},
		field{"rules", func(n *yaml.Node, path string) {
			d.list(n, path, replica.MaxImportRules, func(n *yaml.Node, path string) { d.importRule(im, n, path) })
		}},
	)
}

// maxQuota is far above the bounds of a part; who wants no quota leaves it out.
const maxQuota = 1 << 30

func (d *decoder) importRule(im *replica.Import, n *yaml.Node, path string) {
	var r replica.ImportRule
	aliases := true
	before := len(d.problems)
	d.object(n, path,
		field{"clusters", d.patterns(&r.Clusters)},
		field{"namespaces", d.only(&r.Namespaces, "every namespace")},
		field{"services", d.number(maxQuota, func(v uint64) { r.Services = int(v) })},
		field{"octets", d.octets(maxQuota, func(v uint64) { r.Octets = int(v) })},
		field{"aliases", d.flag(&aliases)},
	)
	if len(r.Clusters) == 0 && len(d.problems) == before {
		d.add(n, "%s.clusters is missing: add clusters: [\"*\"], or patterns of the clusters that the rule is for", path)
	}
	r.NoAliases = !aliases
	im.Rules = append(im.Rules, r)
}

// only reads patterns outside of which nothing is accepted. Whoever writes none
// there means nothing, and would get all.
func (d *decoder) only(to *[]string, all string) read {
	return func(n *yaml.Node, path string) {
		if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			d.add(n, "%s: is empty: give patterns, or remove the field to accept %s", path, all)
			return
		}
		d.patterns(to)(n, path)
	}
}

func (d *decoder) patterns(to *[]string) read {
	return func(n *yaml.Node, path string) {
		d.list(n, path, replica.MaxImportPatterns, func(n *yaml.Node, path string) {
			var p string
			before := len(d.problems)
			if d.text(&p, replica.ValidPattern)(n, path); len(d.problems) == before {
				*to = append(*to, p)
			}
		})
	}
}

// units are binary: that is what memory is counted in.
var units = []struct {
	name  string
	shift uint
}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"", 0}}

// octets reads a size of [1, high]: a number, or one with a unit as in 4MiB.
func (d *decoder) octets(high uint64, set func(uint64)) read {
	return func(n *yaml.Node, path string) {
		s, ok := d.scalar(n, path, textOrNumber(n), "a size like 4MiB")
		if !ok {
			return
		}
		v, err := parseOctets(s)
		if err != nil || v < 1 || v > high {
			d.add(n, "%s: %q is no size: want a number of octets up to %d, or one of KiB, MiB or GiB as in 4MiB", path, clip(s), high)
			return
		}
		set(v)
	}
}

// textOrNumber is the tag of a value that may look like a number: without its
// unit it is one.
func textOrNumber(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
		return "!!int"
	}
	return "!!str"
}

func parseOctets(s string) (uint64, error) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseUint(digits, 10, 64)
		if err == nil && v > maxQuota {
			err = errors.New("out of range")
		}
		return v << u.shift, err
	}
	return 0, errors.New("no number")
}

// duration reads a time of [low, high] in Go's form, as in 24h.
func (d *decoder) duration(low, high time.Duration, to *time.Duration) read {
	return func(n *yaml.Node, path string) {
		want := fmt.Sprintf("a time from %s to %s", short(low), short(high))
		s, ok := d.scalar(n, path, textOrNumber(n), want+" like 24h")
		if !ok {
			return
		}
		v, err := time.ParseDuration(s)
		if err != nil || v < low || v > high {
			d.add(n, "%s: want %s, written like 24h or 30m, got %q", path, want, clip(s))
			return
		}
		*to = v
	}
}

// short is a duration without the units that are zero.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
