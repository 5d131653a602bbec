package kube

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/isthmus-dns/isthmus/discovery/export"
)

// exportGroup and exportResource name ServiceExport; the versions stand in the
// order of preference.
const (
	exportGroup    = "multicluster.x-k8s.io"
	exportResource = "serviceexports"
)

var exportVersions = []string{"v1beta1", "v1alpha1"}

// exportRetry is how soon to ask again while it is not known whether the CRD
// is there: nothing is published before.
const exportRetry = time.Second

// exportSync is how long the first list of a version may take before the
// versions are looked at again: the CRD may have gone meanwhile.
const exportSync = 10 * time.Second

// exports mirrors ServiceExports while their CRD is installed. The CRD may
// come later, go, or change its versions.
type exports struct {
	source  *Source
	enqueue func(cache.ObjectName)
	known   chan struct{} // closed when store tells what exports there are
	store   atomic.Pointer[cache.Indexer]
}

func (s *Source) exports(enqueue func(cache.ObjectName)) *exports {
	return &exports{source: s, enqueue: enqueue, known: make(chan struct{})}
}

// get returns the ServiceExport of that name, nil if there is none.
func (e *exports) get(key cache.ObjectName) *export.Export {
	store := e.store.Load()
	if store == nil {
		return nil
	}
	obj, _, _ := (*store).GetByKey(key.String()) // its error is always nil
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	return exportOf(u)
}

// exportOf reads a ServiceExport. One that waits for a finalizer is taken back
// already: nil.
func exportOf(u *unstructured.Unstructured) *export.Export {
	if u.GetDeletionTimestamp() != nil {
		return nil
	}
	return &export.Export{Namespace: u.GetNamespace(), Name: u.GetName(), CreatedAt: u.GetCreationTimestamp().Time}
}

// run looks for the CRD again and again and follows the version it finds,
// until ctx ends.
func (e *exports) run(ctx context.Context) {
	var following string
	var lost bool
	stop := func() {}
	defer func() { stop() }()
	settled := sync.OnceFunc(func() { close(e.known) })
	for wait := time.Duration(0); pause(ctx, wait); {
		version, err := e.source.served(ctx)
		switch {
		case err != nil:
			if !lost && ctx.Err() == nil { // once an outage
				e.source.log.Warn("ServiceExport versions unknown", slog.Any("error", err))
			}
			lost, wait = true, e.retry()
			continue
		case version == "" && following != "" && e.empty():
			stop()
			stop, following = func() {}, ""
			e.source.log.Info("ServiceExports are not followed any more: no CRD")
		case version != "" && version != following:
			next, ok := e.follow(ctx, version)
			if !ok {
				wait = e.retry()
				continue
			}
			stop()
			stop, following = next, version
		}
		settled()
		lost, wait = false, e.source.cfg.DiscoverEvery
	}
}

// retry is how soon to try again: there is no hurry once Run has started.
func (e *exports) retry() time.Duration {
	select {
	case <-e.known:
		return e.source.cfg.DiscoverEvery
	default:
		return exportRetry
	}
}

// served is the preferred version of ServiceExport that the API server serves,
// "" if none.
func (s *Source) served(ctx context.Context) (string, error) {
	for _, version := range exportVersions {
		gv := schema.GroupVersion{Group: exportGroup, Version: version}
		list, err := s.cfg.Client.Discovery().ServerResourcesForGroupVersionWithContext(ctx, gv.String())
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("resources of %s: %w", gv, err)
		}
		if slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == exportResource }) {
			return version, nil
		}
	}
	return "", nil
}

// follow starts to mirror a version and, when all of it is there, takes it
// into use. The returned function ends it.
func (e *exports) follow(ctx context.Context, version string) (stop func(), ok bool) {
	gvr := schema.GroupVersionResource{Group: exportGroup, Version: version, Resource: exportResource}
	objects := e.source.cfg.Dynamic.Resource(gvr)
	informer := cache.NewSharedIndexInformerWithOptions(
		mirrored(e.source, exportResource, e.source.cfg.Dynamic, objects.List, objects.Watch),
		&unstructured.Unstructured{}, cache.SharedIndexInformerOptions{ObjectDescription: gvr.String()})
	handler := each(func(obj any) {
		if u, ok := obj.(*unstructured.Unstructured); ok {
			e.enqueue(cache.NewObjectName(u.GetNamespace(), u.GetName()))
		}
	})
	if err := e.source.prepare(exportResource, informer, trimExport, handler); err != nil {
		e.source.log.Error("ServiceExports not followed", slog.Any("error", err))
		return nil, false
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { informer.RunWithContext(ctx) })
	stop = func() {
		cancel()
		wg.Wait()
	}
	within, done := context.WithTimeout(ctx, exportSync)
	defer done()
	if !cache.WaitFor(within, "", informer.HasSyncedChecker()) {
		stop()
		if ctx.Err() == nil {
			e.source.log.Warn("ServiceExports not listed in time", slog.String("version", version))
		}
		return nil, false
	}
	e.use(informer.GetIndexer())
	e.source.log.Info("ServiceExports are followed", slog.String("version", version))
	return stop, true
}

// use swaps the store. What the old or the new one names is looked at again:
// the handlers' own events may have been worked off with the old store. The
// swap comes first, so that what is not listed has its event after it.
func (e *exports) use(store cache.Indexer) {
	old := e.store.Swap(&store)
	keys := store.ListKeys()
	if old != nil {
		keys = append(keys, (*old).ListKeys()...)
	}
	for _, key := range keys {
		if name, err := cache.ParseObjectName(key); err == nil {
			e.enqueue(name)
		}
	}
}

// empty tells that no export is left. The API server deletes the objects of a
// CRD before the CRD, so a CRD that is gone while exports are left is an API
// server that starts and does not know all its resources yet.
func (e *exports) empty() bool {
	store := e.store.Load()
	return store == nil || len((*store).ListKeys()) == 0
}
