package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// outside is what a fresh list says of ServiceEntries and WorkloadEntries.
type outside struct {
	entries   map[discovery.Key][]*export.ServiceEntry // by the services that they claim
	workloads map[string][]*export.WorkloadEntry       // by namespace
}

func (o *outside) build(key discovery.Key, options export.Options) export.Result {
	namespace, name := key.Split()
	return export.BuildEntry(export.EntryInput{
		Entries: o.entries[key], Service: export.Object{Namespace: namespace, Name: name},
		Workloads: func() []*export.WorkloadEntry { return o.workloads[namespace] }, Opts: options,
	}).Result
}

// lookOutside lists them and keeps what is about the wanted services.
func (s *Source) lookOutside(ctx context.Context, wanted map[discovery.Key]bool) (outside, error) {
	out := outside{entries: map[discovery.Key][]*export.ServiceEntry{}, workloads: map[string][]*export.WorkloadEntry{}}
	err := s.again(ctx, serviceEntries(&s.cfg.Options, nil), func(obj any) {
		e, ok := obj.(*export.ServiceEntry)
		if !ok {
			return
		}
		for _, c := range e.Own(&s.cfg.Options) {
			if key := discovery.MakeKey(c.Service.Namespace, c.Service.Name); wanted[key] {
				out.entries[key] = append(out.entries[key], e)
				out.workloads[e.Namespace] = nil
			}
		}
	})
	if err != nil || len(out.entries) == 0 {
		return out, err
	}
	return out, s.again(ctx, workloadEntries(nil), func(obj any) {
		w, ok := obj.(*export.WorkloadEntry)
		if !ok {
			return
		}
		if _, wanted := out.workloads[w.Namespace]; wanted {
			out.workloads[w.Namespace] = append(out.workloads[w.Namespace], w)
		}
	})
}

// again lists an optional kind anew, as its informer would have it. One that is
// not there, or may not be listed, has nothing to say: where the right never
// was, nothing came of the kind.
func (s *Source) again(ctx context.Context, k *kind, each func(obj any)) error {
	version, err := s.servedVersion(ctx, k, nil)
	if err != nil || version == "" {
		return err
	}
	gvr := schema.GroupVersionResource{Group: k.group, Version: version, Resource: k.resource}
	err = pages(ctx, s.cfg.Dynamic.Resource(gvr).List, func(list *unstructured.UnstructuredList) {
		for i := range list.Items {
			if obj, err := k.trim(&list.Items[i]); err == nil {
				each(obj)
			}
		}
	})
	if err != nil && !apierrors.IsForbidden(err) {
		return fmt.Errorf("%s: %w", k.resource, err)
	}
	return nil
}
