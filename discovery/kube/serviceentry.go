package kube

import (
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/cache"

	"github.com/isthmus-dns/isthmus/discovery/export"
)

// The indexes of ServiceEntries.
const (
	byClaim  = "claim"    // by "namespace/name" of the services that they claim in their own namespace
	choosing = "choosing" // by namespace, those that choose WorkloadEntries
)

// istioVersions have the same fields.
var istioVersions = []string{"v1", "v1beta1", "v1alpha3"}

// serviceEntries is the kind whose hosts may be names of services.
func serviceEntries(o *export.Options, changed func(any)) *kind {
	return &kind{
		group: export.IstioGroup, resource: "serviceentries", versions: istioVersions,
		trim: slimEntry(o), indexers: cache.Indexers{byClaim: entryClaims(o), choosing: entryChoosing}, changed: changed,
	}
}

// workloadEntries is the kind of machines that ServiceEntries choose.
func workloadEntries(changed func(any)) *kind {
	return &kind{
		group: export.IstioGroup, resource: "workloadentries", versions: istioVersions,
		trim: slimWorkload, indexers: cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}, changed: changed,
	}
}

// slimEntry and slimWorkload are transforms like those of slim, which drop what
// stands in the metadata.
func slimEntry(o *export.Options) cache.TransformFunc {
	less := slim[export.ServiceEntry](nil)
	return func(obj any) (any, error) {
		out, err := less(obj)
		if e, ok := out.(*export.ServiceEntry); ok && out != obj {
			e.Annotations = kept(obj, ours)
			e.Bound(o)
		}
		return out, err
	}
}

func slimWorkload(obj any) (any, error) {
	out, err := slim[export.WorkloadEntry](nil)(obj)
	if w, ok := out.(*export.WorkloadEntry); ok && out != obj {
		w.Annotations = kept(obj, func(name string) bool { return name == export.AnnotationHealthChecks })
		w.Bound()
		w.Labels = obj.(*unstructured.Unstructured).GetLabels() //nolint:forcetypeassert // nothing else becomes a WorkloadEntry
	}
	return out, err
}

// ours tells the annotations that export reads.
func ours(name string) bool {
	return slices.ContainsFunc(annotationPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// kept are the annotations that count.
func kept(obj any, counts func(name string) bool) map[string]string {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	var out map[string]string
	for name, value := range u.GetAnnotations() {
		if counts(name) {
			if out == nil {
				out = map[string]string{}
			}
			out[name] = value
		}
	}
	return out
}

func entryClaims(o *export.Options) cache.IndexFunc {
	return func(obj any) ([]string, error) {
		e, ok := obj.(*export.ServiceEntry)
		if !ok {
			return nil, nil
		}
		var out []string
		for _, c := range e.Own(o) {
			out = append(out, c.Service.String())
		}
		return out, nil
	}
}

func entryChoosing(obj any) ([]string, error) {
	if e, ok := obj.(*export.ServiceEntry); ok && e.Spec.WorkloadSelector != nil {
		return []string{e.Namespace}, nil
	}
	return nil, nil
}

// entryPrefix is what the queue's keys of ServiceEntries themselves begin with:
// what their owners are told is about the object and not about one service. No
// object's name has a slash.
const entryPrefix = "serviceentry/"

func entryKey(e *export.ServiceEntry) cache.ObjectName {
	return cache.NewObjectName(e.Namespace, entryPrefix+e.Name)
}

// isEntry is the name of the ServiceEntry that a key is about.
func isEntry(key cache.ObjectName) (at export.Object, ok bool) {
	name, ok := strings.CutPrefix(key.Name, entryPrefix)
	return export.Object{Namespace: key.Namespace, Name: name}, ok
}

// entryChanged has the services that a ServiceEntry claims looked at, and then
// the ServiceEntry.
func (k *kinds) entryChanged(obj any) {
	e, ok := obj.(*export.ServiceEntry)
	if !ok {
		return
	}
	o := &k.source.cfg.Options
	for _, c := range e.Own(o) {
		k.enqueue(cache.NewObjectName(c.Service.Namespace, c.Service.Name))
	}
	if e.Declared() {
		k.enqueue(entryKey(e))
	}
}

func (k *kinds) workloadChanged(obj any) {
	w, ok := obj.(*export.WorkloadEntry)
	if !ok {
		return
	}
	for _, e := range typed[*export.ServiceEntry](k.entries.by(choosing, w.Namespace)) {
		if e.Selects(w) {
			k.entryChanged(e)
		}
	}
}

// entry is a ServiceEntry, nil if there is none.
func (k *kinds) entry(at export.Object) *export.ServiceEntry {
	e, _ := k.entries.get(at.String()).(*export.ServiceEntry)
	return e
}

// claimed are the names of all services that ServiceEntries claim.
func (k *kinds) claimed() []cache.ObjectName {
	store := k.entries.store.Load()
	if store == nil {
		return nil
	}
	var out []cache.ObjectName
	for _, key := range (*store).ListIndexFuncValues(byClaim) {
		if name, err := cache.ParseObjectName(key); err == nil {
			out = append(out, name)
		}
	}
	return out
}

// entryInput is what there is about a service in ServiceEntries.
func (w *watch) entryInput(key cache.ObjectName) export.EntryInput {
	return export.EntryInput{
		Entries: typed[*export.ServiceEntry](w.kinds.entries.by(byClaim, key.String())),
		Service: export.Object{Namespace: key.Namespace, Name: key.Name},
		Workloads: func() []*export.WorkloadEntry {
			return typed[*export.WorkloadEntry](w.kinds.workloads.by(cache.NamespaceIndex, key.Namespace))
		},
		Opts: w.options,
	}
}

// holder is who has a name that ServiceEntries claim: the Service of that name,
// or one of them; the zero holder is nobody.
type holder struct {
	service bool
	entry   string
}

// entry is the record of a service that is made of a ServiceEntry, if there is
// one and no Service has the name.
func (w *watch) entry(key cache.ObjectName, taken bool) export.Result {
	if len(w.kinds.entries.by(byClaim, key.String())) == 0 { // as of most Services
		delete(w.holders, key)
		return export.Result{Reason: export.ReasonNoEntry}
	}
	in := w.entryInput(key)
	now := holder{service: taken}
	out := export.EntryResult{Result: export.Result{Reason: export.ServiceTaken}}
	if !taken {
		if out = export.BuildEntry(in); out.Entry != nil {
			now.entry = out.Entry.Name
		}
	}
	if before := w.holders[key]; before != now {
		w.holders[key] = now
		for _, e := range in.Entries { // all are to know
			w.queue.Add(entryKey(e))
		}
	}
	return out.Result
}

// lookAtEntry finds what the owner of a ServiceEntry should know.
func (w *watch) lookAtEntry(key cache.ObjectName, at export.Object) {
	var v *verdict
	if e := w.kinds.entry(at); e != nil {
		v = w.entryVerdict(e)
	}
	w.source.verdicts.note(key, v)
	text := ""
	if v != nil {
		text = strings.Trim(v.reason+"; "+v.problems, "; ")
		if !v.exported {
			text = "not exported: " + text
		}
	}
	w.log(entryTrouble, key, at.Name, text)
}

// entryVerdict is nil for a ServiceEntry that nobody meant to be exported.
func (w *watch) entryVerdict(e *export.ServiceEntry) *verdict {
	v := &verdict{set: "default"}
	var told []string
	tell := func(text string) {
		if !slices.Contains(told, text) {
			told = append(told, text)
		}
	}
	claims := e.Claims(&w.options)
	if yes, err := strconv.ParseBool(e.Annotations[export.AnnotationExport]); len(claims) == 0 && err == nil && yes {
		tell(export.ReasonNoClaim)
	}
	for _, c := range claims {
		result := w.ofEntry(e, c)
		switch {
		case result.Service != nil:
			v.exported, v.own = true, v.own || len(result.Service.Gateways) > 0
			if result.Service.GatewaySet != "" {
				v.set = result.Service.GatewaySet
			}
		case export.Intended(result.Reason):
			continue
		default:
			tell("host " + c.Host + ": " + result.Reason)
		}
		for _, problem := range result.Problems {
			tell(problem)
		}
	}
	text := strings.Join(told, "; ")
	switch {
	case v.exported:
		v.problems = text
	case text == "":
		return nil
	default:
		v.reason = text
	}
	return v
}

// ofEntry is what comes of one host of a ServiceEntry.
func (w *watch) ofEntry(e *export.ServiceEntry, c export.Claim) export.Result {
	key := cache.NewObjectName(c.Service.Namespace, c.Service.Name)
	in := w.entryInput(key)
	in.Entries = []*export.ServiceEntry{e}
	result := export.BuildEntry(in).Result
	switch at := w.holders[key]; {
	case result.Service == nil:
	case at.service:
		return export.Result{Reason: export.ServiceTaken}
	case at.entry != "" && at.entry != e.Name:
		return export.Result{Reason: "ServiceEntry " + at.entry + " is older and has the name"}
	}
	return result
}
