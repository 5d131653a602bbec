package replica

import (
	"bytes"
	"cmp"
	"iter"
	"math"

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
	rule  *ImportRule
	only  map[string]bool // keys of the services within the quotas; nil: all that the rule lets in
	left  int             // services that the quotas leave out
	names *naming         // whose alias hosts are accepted; nil: everybody's
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

// aliases tells why the alias hosts of a service that is taken are not.
func (s *selection) aliases(key string) error {
	if s == nil {
		return nil
	}
	return s.names.takes(key)
}

// admits tells whether services of a namespace are accepted; all are without a
// rule.
func (r *ImportRule) admits(namespace string) bool {
	return r == nil || len(r.Namespaces) == 0 || matchesAny(r.Namespaces, namespace)
}

// choose makes a rule's selection of a part, of which at most so many alias
// hosts count (0: all). It costs little as long as the part as a whole is within
// the quotas. Without a rule only the alias hosts are limited.
func (r *ImportRule) choose(p *part, aliases int) *selection {
	s := r.within(p)
	names := r.names(p, s, aliases)
	if names == nil {
		return s
	}
	if s == nil {
		s = &selection{}
	}
	s.names = names
	return s
}

// within is the selection by the rule's quotas.
func (r *ImportRule) within(p *part) *selection {
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
	inOrder(candidates)
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
	for f := range fields(record) {
		if f.number != exportedAtField || f.kind != protowire.VarintType {
			continue
		}
		if v, n := protowire.ConsumeVarint(f.value); n >= 0 && int64(v) > 0 {
			return int64(v)
		}
		break
	}
	return math.MaxInt64
}

// recordField is one of an encoded record; its value is encoded as its kind says.
type recordField struct {
	number protowire.Number
	kind   protowire.Type
	value  []byte
}

// fields yields those of a record without decoding it, up to the first that is
// broken.
func fields(record []byte) iter.Seq[recordField] {
	return func(yield func(recordField) bool) {
		for len(record) > 0 {
			number, kind, n := protowire.ConsumeTag(record)
			if n < 0 {
				return
			}
			record = record[n:]
			if n = protowire.ConsumeFieldValue(number, kind, record); n < 0 || !yield(recordField{number, kind, record[:n]}) {
				return
			}
			record = record[n:]
		}
	}
}

// byKey tells whether an item's fate hangs on its key alone.
func (s *selection) byKey() bool {
	return s != nil && s.only == nil && (s.names == nil || s.names.only == nil)
}

// lead lists what leads from what one selection takes of a part to what another
// takes of the next one. Why an item that is new or changed is not taken goes
// to leftOut.
func lead(from *part, a *selection, to *part, b *selection, leftOut func(error)) (changed []item, removed []string) {
	if a == nil && b == nil {
		return diff(from, to)
	}
	same := a.byKey() && b.byKey() && a.rule == b.rule
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
			differs := !bytes.Equal(before, value) || (a.aliases(key) == nil) != (b.aliases(key) == nil)
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
