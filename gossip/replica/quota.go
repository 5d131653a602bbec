package replica

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// A part is kept and passed on whole, whatever is accepted of it: its root
// covers all of it, and others may accept more. What is accepted goes into the
// table. Where a quota does not suffice for all, the services that were
// exported first have it, then those whose keys sort first: so it is the same
// services on every watcher and agent, and a new one never pushes out one that
// is answered for. Refusing the whole part instead would let a cluster with one
// service too many go on with endpoints that are long gone.

// selection is what of a part is accepted; nil is all of it.
type selection struct {
	rule *ImportRule
	only map[string]bool // keys of the services within the quotas; nil: all that the rule lets in
	left int             // services that the quotas leave out
}

// takes tells whether an item is accepted, and if not, why.
func (s *selection) takes(key string) error {
	if s == nil {
		return nil
	}
	service, ok := parseServiceKey(key)
	if !ok {
		return nil
	}
	if namespace, _ := service.Split(); !s.rule.admits(namespace) {
		return errNamespace
	}
	if s.only != nil && !s.only[key] {
		return errQuota
	}
	return nil
}

// admits tells whether services of a namespace are accepted.
func (r *ImportRule) admits(namespace string) bool {
	return len(r.Namespaces) == 0 || matchesAny(r.Namespaces, namespace)
}

// choose makes a rule's selection of a part. It costs little as long as the
// part as a whole is within the quotas.
func (r *ImportRule) choose(p *part) *selection {
	if r == nil {
		return nil
	}
	s := &selection{rule: r}
	services, octets := cmp.Or(r.Services, math.MaxInt), cmp.Or(r.Octets, math.MaxInt)
	if p.items <= services && p.bytes <= octets {
		return s
	}
	candidates, total := r.candidates(p)
	if len(candidates) <= services && total <= octets {
		return s
	}
	for _, c := range candidates {
		c.since = exportedAt(c.value)
	}
	slices.SortFunc(candidates, func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.key, b.key))
	})
	s.only = map[string]bool{}
	for _, c := range candidates {
		if size := len(c.key) + len(c.value); len(s.only) < services && size <= octets {
			s.only[c.key] = true
			octets -= size
		}
	}
	s.left = len(candidates) - len(s.only)
	return s
}

// candidate is a service that a quota may leave out.
type candidate struct {
	key   string
	value []byte
	since int64
}

// candidates are the services in namespaces that a rule admits, and how many
// octets they take.
func (r *ImportRule) candidates(p *part) (list []*candidate, octets int) {
	for _, b := range p.buckets {
		for key, value := range b.each() {
			service, ok := parseServiceKey(key)
			if !ok {
				continue
			}
			if namespace, _ := service.Split(); r.admits(namespace) {
				list = append(list, &candidate{key: key, value: value})
				octets += len(key) + len(value)
			}
		}
	}
	return list, octets
}

// exportedAtField is Service.exported_at's number in wire.proto.
const exportedAtField = 13

// exportedAt reads when a service was exported from its record, without
// decoding the rest. Who does not tell comes last.
func exportedAt(record []byte) int64 {
	for len(record) > 0 {
		number, kind, n := protowire.ConsumeTag(record)
		if n < 0 {
			break
		}
		record = record[n:]
		if number == exportedAtField && kind == protowire.VarintType {
			if v, n := protowire.ConsumeVarint(record); n >= 0 && int64(v) > 0 {
				return int64(v)
			}
			break
		}
		if n = protowire.ConsumeFieldValue(number, kind, record); n < 0 {
			break
		}
		record = record[n:]
	}
	return math.MaxInt64
}

// lead lists what leads from what one selection takes of a part to what another
// takes of the next one. Why an item that is new or changed is not taken goes
// to leftOut.
func lead(from *part, a *selection, to *part, b *selection, leftOut func(error)) (changed []item, removed []string) {
	if a == nil && b == nil {
		return diff(from, to)
	}
	// With one rule and room for all, an item's fate hangs on its key alone.
	same := a != nil && b != nil && a.rule == b.rule && a.only == nil && b.only == nil
	for n := range bucketCount {
		old, now := from.buckets[n], to.buckets[n]
		if same && old.sum() == now.sum() {
			continue
		}
		had := map[string][]byte{}
		for key, value := range old.each() {
			had[key] = value
		}
		for key, value := range now.each() {
			before, known := had[key]
			was := known && a.takes(key) == nil
			differs := !bytes.Equal(before, value)
			switch err := b.takes(key); {
			case err == nil:
				delete(had, key)
				if !was || differs {
					changed = append(changed, newItem(key, value))
				}
			case !known || differs:
				leftOut(err)
			}
		}
		for key := range had { // gone, or not taken any more
			if a.takes(key) == nil {
				removed = append(removed, key)
			}
		}
	}
	return changed, removed
}
