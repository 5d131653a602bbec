package replica

import (
	"cmp"
	"fmt"
	"slices"
)

// A service may claim up to discovery.MaxAliases hosts, and a part has 200,000
// services: an index of all of them would take a gigabyte of everybody's
// memory. Beyond Limits.Aliases the hosts of a part's services are left out, of
// those that were exported last first, while the services themselves are
// answered for.

var errAliasLimit = fmt.Errorf("alias hosts %w for one cluster, those exported last are left out", errTooLarge)

// aliasesField is Service.aliases' number in wire.proto.
const aliasesField = 10

// aliasCount tells how many alias hosts a record claims, without decoding it.
func aliasCount(key string, record []byte) (count int) {
	if _, ok := parseServiceKey(key); !ok {
		return 0
	}
	for f := range fields(record) {
		if f.number == aliasesField {
			count++
		}
	}
	return count
}

// naming is whose alias hosts are accepted; nil is everybody's.
type naming struct {
	only map[string]bool // keys of services; nil: nobody's
	left int             // hosts that are left out for lack of room
}

// takes tells why a service's alias hosts are left out; nil if they aren't.
func (n *naming) takes(key string) error {
	switch {
	case n == nil || n.only[key]:
		return nil
	case n.only == nil:
		return errAlias
	}
	return errAliasLimit
}

// names chooses whose alias hosts of a part are accepted, out of the services
// that are.
func (r *ImportRule) names(p *part, s *selection, limit int) *naming {
	if r != nil && r.NoAliases {
		return &naming{}
	}
	if limit <= 0 || p.aliases <= limit {
		return nil
	}
	candidates, _ := r.candidates(p)
	candidates = slices.DeleteFunc(candidates, func(c *candidate) bool { return s.takes(c.key) != nil })
	inOrder(candidates)
	n := &naming{only: map[string]bool{}}
	for _, c := range candidates {
		count := aliasCount(c.key, c.value)
		if count > limit {
			n.left += count
			continue
		}
		n.only[c.key] = true
		limit -= count
	}
	if n.left == 0 {
		return nil
	}
	return n
}

// hosts is how many alias hosts a selection leaves out for lack of room.
func (s *selection) hosts() int {
	if s == nil || s.names == nil {
		return 0
	}
	return s.names.left
}

// inOrder puts first what keeps its place when a quota doesn't suffice for all.
func inOrder(candidates []*candidate) {
	for _, c := range candidates {
		c.since = exportedAt(c.value)
	}
	slices.SortFunc(candidates, func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.key, b.key))
	})
}
