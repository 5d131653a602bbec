package replica

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
)

// Import is what a cluster accepts from others. Its watchers and agents apply
// the same rules to the same parts: a watcher tells its agents. The own
// cluster's part is not subject to it. The zero value accepts everything.
type Import struct {
	// Allow and Deny are patterns of cluster names; a cluster is accepted when
	// it matches one of Allow, or that is empty, and none of Deny. Of others
	// nothing is kept, not even to pass it on.
	Allow, Deny []string
	// Rules say what is accepted of a cluster: the first that matches it does.
	Rules []ImportRule
}

// ImportRule is what is accepted of some clusters.
type ImportRule struct {
	Clusters   []string // patterns of cluster names
	Namespaces []string // patterns of namespaces; empty: all
	Services   int      // at most so many; 0: no quota
	Octets     int      // at most so many of keys and records; 0: no quota
	NoAliases  bool     // the services' alias hosts are left out
}

// Bounds of an Import: an agent takes it from its watcher, and a watcher from a
// file. A clusterset has at most a thousand clusters, and they have rules in
// common.
const (
	MaxImportRules    = 256
	MaxImportPatterns = 1000
)

// Errors about what import rules leave out.
var (
	errDenied    = errors.New("cluster is not imported")
	errNamespace = errors.New("namespace is not imported")
	errQuota     = errors.New("services beyond the cluster's quota are left out")
	errAlias     = errors.New("aliases are not imported")
)

// Accepts tells whether anything of a cluster is accepted.
func (im *Import) Accepts(cluster string) bool {
	return (len(im.Allow) == 0 || matchesAny(im.Allow, cluster)) && !matchesAny(im.Deny, cluster)
}

// rule is a cluster's, nil if it has none.
func (im *Import) rule(cluster string) *ImportRule {
	for i := range im.Rules {
		if matchesAny(im.Rules[i].Clusters, cluster) {
			return &im.Rules[i]
		}
	}
	return nil
}

// Validate says what is wrong with the rules.
func (im *Import) Validate() error {
	if len(im.Rules) > MaxImportRules {
		return fmt.Errorf("%d rules, at most %d are allowed", len(im.Rules), MaxImportRules)
	}
	lists := [][]string{im.Allow, im.Deny}
	for _, r := range im.Rules {
		if len(r.Clusters) == 0 {
			return errors.New("rule names no clusters")
		}
		if r.Services < 0 || r.Octets < 0 {
			return errors.New("quota is negative")
		}
		lists = append(lists, r.Clusters, r.Namespaces)
	}
	for _, list := range lists {
		if len(list) > MaxImportPatterns {
			return fmt.Errorf("%d patterns, at most %d are allowed", len(list), MaxImportPatterns)
		}
		for _, p := range list {
			if err := ValidPattern(p); err != nil {
				return fmt.Errorf("pattern %q %w", clip(p), err)
			}
		}
	}
	return nil
}

// ValidPattern says why p is no pattern of DNS labels, in which each "*" stands
// for any text. The error does not repeat p.
func ValidPattern(p string) error {
	switch {
	case p == "":
		return errors.New("is empty")
	case len(p) > discovery.MaxLabel:
		return fmt.Errorf("has %d octets, at most %d are allowed", len(p), discovery.MaxLabel)
	case strings.ContainsFunc(p, noPatternRune):
		return errors.New("wants lower-case letters, digits, '-', and '*' for any text")
	}
	return nil
}

func noPatternRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '*'
}

func matchesAny(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, s) })
}

// matches tells whether a text fits a pattern. What stands between two stars is
// sought from the left, which finds a fit if there is one.
func matches(pattern, s string) bool {
	first, rest, starred := strings.Cut(pattern, "*")
	if !starred {
		return s == pattern
	}
	if !strings.HasPrefix(s, first) {
		return false
	}
	s = s[len(first):]
	pieces := strings.Split(rest, "*")
	last := pieces[len(pieces)-1]
	for _, piece := range pieces[:len(pieces)-1] {
		i := strings.Index(s, piece)
		if i < 0 {
			return false
		}
		s = s[i+len(piece):]
	}
	return strings.HasSuffix(s, last)
}

func (im *Import) encode() *wire.Import {
	w := &wire.Import{Allow: im.Allow, Deny: im.Deny}
	for _, r := range im.Rules {
		w.Rules = append(w.Rules, &wire.ImportRule{
			Clusters: r.Clusters, Namespaces: r.Namespaces, Services: uint64(r.Services), Octets: uint64(r.Octets), NoAliases: r.NoAliases,
		})
	}
	return w
}

// maxQuota is more than any part may have, and fits an int of 32 bits.
const maxQuota = 1 << 30

func decodeImport(w *wire.Import) (*Import, error) {
	im := &Import{Allow: w.GetAllow(), Deny: w.GetDeny()}
	for _, r := range w.GetRules() {
		im.Rules = append(im.Rules, ImportRule{
			Clusters: r.GetClusters(), Namespaces: r.GetNamespaces(), NoAliases: r.GetNoAliases(),
			Services: int(min(r.GetServices(), maxQuota)), Octets: int(min(r.GetOctets(), maxQuota)),
		})
	}
	if err := im.Validate(); err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	return im, nil
}
