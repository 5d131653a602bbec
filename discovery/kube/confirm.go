package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// pageSize is how many objects are asked for at once: what kubectl asks for.
const pageSize = 500

// defaultMissingCRD is how long Services that are left without a declaration
// stay exported while the ServiceExport CRD is not there: somebody who removed
// another user of the CRD, and the CRD with it, has an hour to see the warning
// and to bring it back.
const defaultMissingCRD = time.Hour

var (
	errStillThere = errors.New("the API server has them")
	errNoCRD      = errors.New("the ServiceExport CRD is gone and may have declared them; " +
		"install it again, or say isthmus.dev/export: \"false\" at the Services")
)

// Confirm asks the API server whether services are gone, and others without
// endpoints, as the informers say. It lists anew, from the quorum and not from
// a cache, and is nil if that says the same.
func (s *Source) Confirm(ctx context.Context, gone, emptied []discovery.Key) error {
	look, err := s.lookAgain(ctx, slices.Concat(gone, emptied))
	if err != nil {
		return fmt.Errorf("second look at the API server: %w", err)
	}
	var there []string
	undeclared := false
	for _, key := range gone {
		switch result := look.build(key, s.cfg.Options); {
		case result.Service != nil:
			there = append(there, string(key))
		case result.Reason == export.ReasonNotDeclared:
			undeclared = true
		}
	}
	for _, key := range emptied {
		if result := look.build(key, s.cfg.Options); result.Service != nil && result.Service.Total() > 0 {
			there = append(there, string(key))
		}
	}
	missing := s.missingCRD(look.version, time.Now())
	switch {
	case len(there) > 0:
		slices.Sort(there)
		return fmt.Errorf("%d services, %s for one: %w", len(there), there[0], errStillThere)
	case undeclared && missing && look.version == "":
		return errNoCRD
	}
	return nil
}

// look is what a fresh list says of some Services.
type look struct {
	version  string // of ServiceExport, "" without its CRD
	services map[discovery.Key]*corev1.Service
	slices   map[discovery.Key][]*discoveryv1.EndpointSlice
	exports  map[discovery.Key]*export.Export
	outside
}

func (l *look) build(key discovery.Key, options export.Options) export.Result {
	result := export.Build(export.Input{Service: l.services[key], Slices: l.slices[key], Export: l.exports[key], Opts: options})
	if result.Service == nil {
		if entry := l.outside.build(key, options); entry.Service != nil {
			return entry
		}
	}
	return result
}

// lookAgain lists everything and keeps what is about the named Services.
func (s *Source) lookAgain(ctx context.Context, keys []discovery.Key) (*look, error) {
	l := &look{
		services: map[discovery.Key]*corev1.Service{}, slices: map[discovery.Key][]*discoveryv1.EndpointSlice{},
		exports: map[discovery.Key]*export.Export{},
	}
	wanted := make(map[discovery.Key]bool, len(keys))
	for _, key := range keys {
		wanted[key] = true
	}
	services := s.cfg.Client.CoreV1().Services(metav1.NamespaceAll)
	err := pages(ctx, services.List, func(list *corev1.ServiceList) {
		for i := range list.Items {
			if key := discovery.MakeKey(list.Items[i].Namespace, list.Items[i].Name); wanted[key] {
				l.services[key] = &list.Items[i]
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("services: %w", err)
	}
	endpoints := s.cfg.Client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll)
	err = pages(ctx, endpoints.List, func(list *discoveryv1.EndpointSliceList) {
		for i := range list.Items {
			if key := discovery.MakeKey(export.Owner(&list.Items[i])); wanted[key] && l.services[key] != nil {
				l.slices[key] = append(l.slices[key], &list.Items[i])
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("endpointslices: %w", err)
	}
	if l.outside, err = s.lookOutside(ctx, wanted); err != nil {
		return nil, err
	}
	return l, s.lookAtExports(ctx, l, wanted)
}

func (s *Source) lookAtExports(ctx context.Context, l *look, wanted map[discovery.Key]bool) error {
	k := serviceExports(nil)
	var err error
	if l.version, err = s.servedVersion(ctx, k, nil); err != nil || l.version == "" {
		return err
	}
	gvr := schema.GroupVersionResource{Group: k.group, Version: l.version, Resource: k.resource}
	err = pages(ctx, s.cfg.Dynamic.Resource(gvr).List, func(list *unstructured.UnstructuredList) {
		for i := range list.Items {
			u := &list.Items[i]
			if key := discovery.MakeKey(u.GetNamespace(), u.GetName()); wanted[key] && u.GetDeletionTimestamp() == nil {
				l.exports[key] = &export.Export{Namespace: u.GetNamespace(), Name: u.GetName(), CreatedAt: u.GetCreationTimestamp().Time}
			}
		}
	})
	if err != nil {
		return fmt.Errorf("%s: %w", k.resource, err)
	}
	return nil
}

// pages lists all objects in pieces that neither side minds.
func pages[L interface {
	runtime.Object
	metav1.ListInterface
}](ctx context.Context, list func(context.Context, metav1.ListOptions) (L, error), each func(L)) error {
	options := metav1.ListOptions{Limit: pageSize} // no resourceVersion: the newest state
	for {
		page, err := list(ctx, options)
		if err != nil {
			return err
		}
		each(page)
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

// absence remembers since when the CRD was found missing.
type absence struct {
	mu          sync.Mutex
	since, last time.Time
}

// absenceGap is how far two looks may be apart to count as one absence; while
// something is held, they are much closer.
const absenceGap = 5 * time.Minute

// missingCRD tells whether the CRD is missing for less time than it takes to
// believe it.
func (s *Source) missingCRD(version string, now time.Time) bool {
	a := &s.absent
	a.mu.Lock()
	defer a.mu.Unlock()
	if version != "" {
		a.since, a.last = time.Time{}, time.Time{}
		return false
	}
	if a.since.IsZero() || now.Sub(a.last) > absenceGap {
		a.since = now
	}
	a.last = now
	return now.Sub(a.since) < s.cfg.MissingCRD
}
