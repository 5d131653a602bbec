package kube

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// follower mirrors the objects of one optional kind while it is there.
type follower struct {
	source *Source
	kind   *kind
	store  atomic.Pointer[cache.Indexer] // nil: not followed
	using  atomic.Pointer[string]        // the version that is followed

	// The rest belongs to the goroutine of optionals.run.
	version   string // that is followed, "" if none
	stop      func()
	forbidden bool // we may not list it, and have said so
	failing   bool // it can't be listed for another reason, and we have said so
}

// get returns the object of that key, nil if there is none.
func (f *follower) get(key string) any {
	store := f.store.Load()
	if store == nil {
		return nil
	}
	obj, _, _ := (*store).GetByKey(key) // its error is always nil
	return obj
}

// by returns the objects under a value of an index.
func (f *follower) by(index, value string) []any {
	store := f.store.Load()
	if store == nil {
		return nil
	}
	objs, err := (*store).ByIndex(index, value)
	if err != nil {
		return nil // only an index that doesn't exist is an error
	}
	return objs
}

// all returns all objects.
func (f *follower) all() []any {
	store := f.store.Load()
	if store == nil {
		return nil
	}
	return (*store).List()
}

// follows tells whether the objects are known: the kind is there, and we may
// see it.
func (f *follower) follows() bool { return f.store.Load() != nil }

// turnTo follows a version from now on, or none. It is false when nothing is
// known yet of objects that are there.
func (f *follower) turnTo(ctx context.Context, version string) bool {
	switch {
	case version == "":
		f.leave()
		return true
	case version == f.version:
		return true
	}
	gvr := schema.GroupVersionResource{Group: f.kind.group, Version: version, Resource: f.kind.resource}
	if !f.allowed(ctx, gvr) {
		return f.forbidden && !f.kind.declares
	}
	stop, ok := f.follow(ctx, gvr)
	if !ok {
		return false
	}
	f.end()
	f.stop, f.version = stop, version
	f.using.Store(&version)
	return true
}

// leave ends following when the kind is gone and nothing of it is left. The API
// server deletes the objects of a CRD before the CRD, so a CRD that is gone
// while objects are left is an API server that starts and does not know all its
// resources yet.
func (f *follower) leave() {
	f.permit(true, nil)
	if f.version == "" || len(f.all()) > 0 {
		return
	}
	f.end()
	f.store.Store(nil)
	f.source.log.Info("kind is not followed any more: the API server has it no longer", slog.String("kind", f.kind.String()))
}

func (f *follower) end() {
	if f.stop != nil {
		f.stop()
	}
	f.stop, f.version = nil, ""
	f.using.Store(nil)
}

// allowed asks for one object, as an informer would ask again and again.
func (f *follower) allowed(ctx context.Context, gvr schema.GroupVersionResource) bool {
	ctx, cancel := context.WithTimeout(ctx, optionalSync)
	defer cancel()
	_, err := f.source.cfg.Dynamic.Resource(gvr).List(ctx, metav1.ListOptions{Limit: 1, ResourceVersion: "0"})
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		f.permit(false, err)
		return false
	}
	if err == nil {
		f.permit(true, nil)
	} else if !f.failing && ctx.Err() == nil {
		f.source.log.Warn("kind can't be listed, trying again: look at its CRD", slog.String("kind", f.kind.String()), slog.Any("error", err))
	}
	f.failing = err != nil
	return err == nil
}

// permit notes whether we may see the kind, and says so once.
func (f *follower) permit(yes bool, err error) {
	switch {
	case yes && f.forbidden:
		f.source.log.Info("kind may be listed now", slog.String("kind", f.kind.String()))
	case !yes && !f.forbidden && f.kind.declares:
		f.source.log.Error("kind may not be listed, and it says what is exported: nothing is published until the ClusterRole "+
			"isthmus-watcher allows list and watch (deploy/base/rbac.yaml)", slog.String("kind", f.kind.String()), slog.Any("error", err))
	case !yes && !f.forbidden:
		f.source.log.Warn("kind may not be listed, going on without it: for gateways that come from it, let the ClusterRole "+
			"isthmus-watcher list and watch it (deploy/base/rbac.yaml)", slog.String("kind", f.kind.String()), slog.Any("error", err))
	}
	f.forbidden = !yes
	value := 0.0
	if f.forbidden {
		value = 1
	}
	f.source.metrics.forbidden.WithLabelValues(f.kind.resource).Set(value)
}

// follow starts to mirror a version and, when all of it is there, takes it
// into use. The returned function ends it.
func (f *follower) follow(ctx context.Context, gvr schema.GroupVersionResource) (stop func(), ok bool) {
	log := f.source.log.With(slog.String("kind", f.kind.String()), slog.String("version", gvr.Version))
	objects := f.source.cfg.Dynamic.Resource(gvr)
	informer := cache.NewSharedIndexInformerWithOptions(
		mirrored(f.source, f.kind.resource, f.source.cfg.Dynamic, objects.List, objects.Watch),
		&unstructured.Unstructured{}, cache.SharedIndexInformerOptions{ObjectDescription: gvr.String(), Indexers: f.kind.indexers})
	if err := f.source.prepare(f.kind.resource, informer, f.kind.trim, each(f.kind.changed)); err != nil {
		log.Error("kind not followed", slog.Any("error", err))
		return nil, false
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { informer.RunWithContext(ctx) })
	stop = func() {
		cancel()
		wg.Wait()
	}
	within, done := context.WithTimeout(ctx, optionalSync)
	defer done()
	if !cache.WaitFor(within, "", informer.HasSyncedChecker()) {
		stop()
		if ctx.Err() == nil {
			log.Warn("kind not listed in time, trying again")
		}
		return nil, false
	}
	f.use(informer.GetIndexer())
	log.Info("kind is followed")
	return stop, true
}

// use swaps the store. What the old or the new one holds is looked at again:
// the handlers' own events may have been worked off with the old store. The
// swap comes first, so that what is not listed has its event after it.
func (f *follower) use(store cache.Indexer) {
	old := f.store.Swap(&store)
	objs := store.List()
	if old != nil {
		objs = append(objs, (*old).List()...)
	}
	for _, obj := range objs {
		f.kind.changed(obj)
	}
}
