package manifest

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"

	"github.com/isthmus-dns/isthmus/discovery"
)

// kind is one of the kinds that matter here.
type kind uint8

const (
	kindService kind = iota
	kindSlice
	kindNode
	kindExport
)

var kindNames = [...]string{"Service", "EndpointSlice", "Node", "ServiceExport"}

// ident is what an object is called.
type ident struct {
	kind            kind
	namespace, name string
}

func (id ident) String() string {
	if id.kind == kindNode {
		return kindNames[id.kind] + " " + id.name
	}
	return kindNames[id.kind] + " " + id.namespace + "/" + id.name
}

// object is one decoded object of a file. value is a *corev1.Service,
// *discoveryv1.EndpointSlice, *corev1.Node or *serviceExport and never changes.
type object struct {
	id    ident
	line  int
	value any
}

// serviceExport is a ServiceExport of v1alpha1 or v1beta1: they differ in
// their spec and status, which are not looked at.
type serviceExport struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              any `json:"spec,omitempty"`
	Status            any `json:"status,omitempty"`
}

// maxListDepth: kubectl writes Lists, and `kubectl get -o yaml` of a List of
// Lists does not exist.
const maxListDepth = 4

// parsed is what a file holds.
type parsed struct {
	objects []object
	faults  []*lineError
	ignored []string // kinds that are of no use here
}

// parse reads all objects of a file and all its faults.
func parse(name string, data []byte) parsed {
	var out parsed
	docs, fault := documents(name, data)
	for _, doc := range docs {
		out.document(doc, 0)
	}
	if fault != nil {
		out.faults = append(out.faults, fault)
	}
	return out
}

func (p *parsed) fault(f *lineError) {
	if len(p.faults) < maxProblems {
		p.faults = append(p.faults, f)
	}
}

func (p *parsed) document(doc document, depth int) {
	var meta metav1.TypeMeta
	if len(doc.json) == 0 || doc.json[0] != '{' {
		p.fault(faultf(doc.line(0), "not a Kubernetes object"))
		return
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(doc.json, &meta); err != nil {
		p.fault(decodeFault(doc, err))
		return
	}
	if meta.Kind == "" || meta.APIVersion == "" {
		p.fault(faultf(doc.line(0), "not a Kubernetes object: apiVersion or kind is missing"))
		return
	}
	if meta.Kind == "List" && meta.APIVersion == "v1" {
		p.list(doc, depth)
		return
	}
	k, known, err := kindOf(meta)
	if err != nil {
		p.fault(faultf(doc.line(locate(doc.json, "apiVersion")), "%v", err))
		return
	}
	if !known {
		if len(p.ignored) < maxProblems {
			p.ignored = append(p.ignored, clip(meta.APIVersion+" "+meta.Kind))
		}
		return
	}
	p.object(doc, k)
}

func (p *parsed) list(doc document, depth int) {
	if depth == maxListDepth {
		p.fault(faultf(doc.line(0), "Lists within Lists beyond %d levels", maxListDepth))
		return
	}
	var list struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        any `json:"metadata"`
		Items           any `json:"items"`
	}
	if !p.strict(doc, &list) {
		return
	}
	items, err := listItems(doc)
	if err != nil {
		p.fault(faultf(doc.line(locate(doc.json, "items")), "%v", err))
		return
	}
	for _, item := range items {
		p.document(item, depth+1)
	}
}

// kindOf tells which kind a document is. A kind of ours in a version that is
// not ours is an error: to pass over it would look as if it did not exist.
func kindOf(meta metav1.TypeMeta) (k kind, known bool, err error) {
	group, _, _ := strings.Cut(meta.APIVersion, "/")
	if !strings.Contains(meta.APIVersion, "/") {
		group = ""
	}
	wrong := func(want string) error {
		return fmt.Errorf("%s of %q is not known, want %s", meta.Kind, clip(meta.APIVersion), want)
	}
	switch {
	case meta.Kind == "Service" && group == "":
		k, known = kindService, meta.APIVersion == "v1"
		if !known {
			err = wrong("v1")
		}
	case meta.Kind == "Node" && group == "":
		k, known = kindNode, meta.APIVersion == "v1"
		if !known {
			err = wrong("v1")
		}
	case meta.Kind == "EndpointSlice" && group == discoveryv1.GroupName:
		k, known = kindSlice, meta.APIVersion == discoveryv1.SchemeGroupVersion.String()
		if !known {
			err = wrong(discoveryv1.SchemeGroupVersion.String())
		}
	case meta.Kind == "ServiceExport" && group == "multicluster.x-k8s.io":
		k, known = kindExport, true
	}
	return k, known, err
}

func (p *parsed) object(doc document, k kind) {
	var value metav1.Object
	switch k {
	case kindService:
		value = &corev1.Service{}
	case kindSlice:
		value = &discoveryv1.EndpointSlice{}
	case kindNode:
		value = &corev1.Node{}
	case kindExport:
		value = &serviceExport{}
	}
	if !p.strict(doc, value) {
		return
	}
	// Not used, and often the larger part of an object.
	value.SetManagedFields(nil)
	if k != kindNode && value.GetNamespace() == "" {
		value.SetNamespace(metav1.NamespaceDefault)
	}
	id := ident{kind: k, name: value.GetName()}
	if k != kindNode {
		id.namespace = value.GetNamespace()
	}
	if path, err := checkIdent(id); err != nil {
		p.fault(faultf(doc.line(locate(doc.json, path)), "%s: %s %v", kindNames[k], path, err))
		return
	}
	p.objects = append(p.objects, object{id: id, line: doc.line(0), value: value})
}

// checkIdent wants names that the API server would accept, as far as DNS or
// a map key depends on it.
func checkIdent(id ident) (path string, err error) {
	if id.kind != kindNode {
		if err := discovery.ValidLabel(id.namespace); err != nil {
			return "metadata.namespace", err
		}
	}
	switch {
	case id.name == "":
		return "metadata.name", errors.New("is empty")
	case id.kind == kindService || id.kind == kindExport:
		return "metadata.name", discovery.ValidLabel(id.name)
	case len(id.name) > 253: // the API server's limit for names
		return "metadata.name", errors.New("is longer than 253 octets")
	}
	return "", nil
}

// strict decodes a document and notes its faults; it tells whether there are
// none.
func (p *parsed) strict(doc document, into any) bool {
	faults, err := kjson.UnmarshalStrict(doc.json, into)
	if err != nil {
		p.fault(decodeFault(doc, err))
		return false
	}
	for _, f := range faults {
		line := doc.line(0)
		var field kjson.FieldError
		if errors.As(f, &field) {
			line = doc.line(locate(doc.json, field.FieldPath()))
		}
		p.fault(faultf(line, "%v", f))
	}
	return len(faults) == 0
}
