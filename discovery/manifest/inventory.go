package manifest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// inventory holds the objects of all files and knows which Services a change
// of one of them concerns.
type inventory struct {
	byFile map[string][]object
	claims map[ident][]claim // ordered by file, then by place in it; the first wins
	slices map[discovery.Key]map[string]*discoveryv1.EndpointSlice

	dirty      map[discovery.Key]struct{} // Services to build anew
	nodesDirty bool
}

// claim is one file's word on an object.
type claim struct {
	file  string
	line  int
	value any
}

func newInventory() *inventory {
	return &inventory{
		byFile: map[string][]object{},
		claims: map[ident][]claim{},
		slices: map[discovery.Key]map[string]*discoveryv1.EndpointSlice{},
		dirty:  map[discovery.Key]struct{}{},
	}
}

// put replaces what a file says; no objects take the file away. It returns
// the objects that lost against another place, as problems.
func (v *inventory) put(file string, objects []object) []Problem {
	before := map[ident]any{}
	note := func(id ident) {
		if _, noted := before[id]; !noted {
			before[id] = v.winner(id)
		}
	}
	for _, o := range v.byFile[file] {
		note(o.id)
		v.withdraw(o.id, file)
	}
	for _, o := range objects {
		note(o.id)
		v.claim(o.id, claim{file: file, line: o.line, value: o.value})
	}
	if len(objects) == 0 {
		delete(v.byFile, file)
	} else {
		v.byFile[file] = objects
	}
	for id, was := range before {
		if is := v.winner(id); !reflect.DeepEqual(was, is) {
			v.changed(id, was, is)
		} else if id.kind == kindSlice && is != nil {
			v.index(is.(*discoveryv1.EndpointSlice)) // equal, but let the old one go
		}
	}
	return v.duplicates(objects)
}

func (v *inventory) claim(id ident, c claim) {
	claims := v.claims[id]
	i, _ := slices.BinarySearchFunc(claims, c.file, func(x claim, file string) int {
		if x.file <= file { // behind its equals: earlier in the file wins
			return -1
		}
		return 1
	})
	v.claims[id] = slices.Insert(claims, i, c)
}

func (v *inventory) withdraw(id ident, file string) {
	claims := slices.DeleteFunc(v.claims[id], func(c claim) bool { return c.file == file })
	if len(claims) == 0 {
		delete(v.claims, id)
	} else {
		v.claims[id] = claims
	}
}

// winner is the object's value in force; nil when no file has it.
func (v *inventory) winner(id ident) any {
	if claims := v.claims[id]; len(claims) > 0 {
		return claims[0].value
	}
	return nil
}

// duplicates reports those of the objects' names that several places claim.
func (v *inventory) duplicates(objects []object) []Problem {
	var out []Problem
	seen := map[ident]bool{}
	for _, o := range objects {
		claims := v.claims[o.id]
		if len(claims) < 2 || seen[o.id] || len(out) >= maxProblems {
			continue
		}
		seen[o.id] = true
		for _, c := range claims[1:] {
			out = append(out, Problem{File: c.file, Line: c.line, Text: fmt.Sprintf(
				"%s is ignored here: %s:%d has it too and its name sorts first", o.id, claims[0].file, claims[0].line)})
		}
	}
	sortProblems(out)
	return out
}

// changed marks what depends on an object.
func (v *inventory) changed(id ident, was, is any) {
	switch id.kind {
	case kindService, kindExport:
		v.dirty[discovery.MakeKey(id.namespace, id.name)] = struct{}{}
	case kindSlice:
		if old, ok := was.(*discoveryv1.EndpointSlice); ok {
			v.unindex(old)
		}
		if now, ok := is.(*discoveryv1.EndpointSlice); ok {
			v.index(now)
		}
	case kindNode:
		v.nodesDirty = true
	}
}

func (v *inventory) index(slice *discoveryv1.EndpointSlice) {
	key, owned := ownerKey(slice)
	if !owned {
		return
	}
	if v.slices[key] == nil {
		v.slices[key] = map[string]*discoveryv1.EndpointSlice{}
	}
	if old := v.slices[key][slice.Name]; old == nil || !reflect.DeepEqual(old, slice) {
		v.dirty[key] = struct{}{}
	}
	v.slices[key][slice.Name] = slice
}

func (v *inventory) unindex(slice *discoveryv1.EndpointSlice) {
	key, owned := ownerKey(slice)
	if !owned {
		return
	}
	v.dirty[key] = struct{}{}
	delete(v.slices[key], slice.Name)
	if len(v.slices[key]) == 0 {
		delete(v.slices, key)
	}
}

// ownerKey is false for a slice that belongs to no Service, and for one whose
// label can't be a Service's name: a dot in it could meet another's key.
func ownerKey(slice *discoveryv1.EndpointSlice) (discovery.Key, bool) {
	namespace, name := export.Owner(slice)
	if discovery.ValidLabel(name) != nil {
		return "", false
	}
	return discovery.MakeKey(namespace, name), true
}

func (v *inventory) service(key discovery.Key) *corev1.Service {
	namespace, name := key.Split()
	svc, _ := v.winner(ident{kind: kindService, namespace: namespace, name: name}).(*corev1.Service)
	return svc
}

func (v *inventory) export(key discovery.Key) *export.Export {
	namespace, name := key.Split()
	e, ok := v.winner(ident{kind: kindExport, namespace: namespace, name: name}).(*serviceExport)
	if !ok || e.DeletionTimestamp != nil {
		return nil
	}
	return &export.Export{Namespace: namespace, Name: name, CreatedAt: e.CreationTimestamp.Time}
}

func (v *inventory) slicesOf(key discovery.Key) []*discoveryv1.EndpointSlice {
	var out []*discoveryv1.EndpointSlice
	for _, slice := range v.slices[key] {
		out = append(out, slice)
	}
	return out
}

func (v *inventory) node(name string) *corev1.Node {
	node, _ := v.winner(ident{kind: kindNode, name: name}).(*corev1.Node)
	return node
}

// nodes are all nodes, ordered by name.
func (v *inventory) nodes() []*corev1.Node {
	var out []*corev1.Node
	for id := range v.claims {
		if id.kind == kindNode {
			out = append(out, v.node(id.name))
		}
	}
	slices.SortFunc(out, func(x, y *corev1.Node) int { return strings.Compare(x.Name, y.Name) })
	return out
}

// takeDirty returns the Services to build anew, ordered, and whether nodes
// changed, and forgets both.
func (v *inventory) takeDirty() (keys []discovery.Key, nodes bool) {
	if v.nodesDirty {
		for id := range v.claims {
			if key := discovery.MakeKey(id.namespace, id.name); id.kind == kindService && export.UsesNodes(v.service(key)) {
				v.dirty[key] = struct{}{}
			}
		}
	}
	for key := range v.dirty {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	nodes = v.nodesDirty
	clear(v.dirty)
	v.nodesDirty = false
	return keys, nodes
}
