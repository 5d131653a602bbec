package kube

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// follower mirrors the objects of one optional kind while it is there.
type follower struct {
	source *Source
	kind   *kind
	store  atomic.Pointer[cache.Indexer] // nil: not followed
	using  atomic.Pointer[string]        // the version that is followed
	blind  atomic.Bool                   // there may be objects that we don't see

	// The rest belongs to the goroutine of optionals.run.
	now       *mirror   // that is followed, nil if none
	next      *mirror   // that is to be followed as soon as all of it is listed
	gone      time.Time // since when the API server does not know what we follow
	forbidden bool      // we may not list it, and have said so
	unlisted  bool      // it can't be listed for another reason, and we have said so
	failing   bool      // that is the API server's answer, and not only its silence
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
	gvr := schema.GroupVersionResource{Group: f.kind.group, Version: version, Resource: f.kind.resource}
	if f.next != nil && f.next.version != version {
		f.next.stop()
		f.next = nil
	}
	switch {
	case version == "":
		f.leave()
		return true
	case f.now != nil && version == f.now.version:
		f.gone = time.Time{}
		if f.now.denied.Load() && f.allowed(ctx, gvr) {
			f.now.denied.Store(false)
		}
		return true
	}
	if f.next == nil {
		if !f.allowed(ctx, gvr) {
			return f.forbidden && !f.kind.declares
		}
		f.next = f.mirror(ctx, gvr)
	}
	return f.arrive(ctx)
}

// arrive takes the next version into use if all of it is listed. One that takes
// long is not begun anew: what a list of 100,000 objects has brought so far
// would be lost each time.
func (f *follower) arrive(ctx context.Context) bool {
	if f.next == nil {
		return false
	}
	within, done := context.WithTimeout(ctx, optionalSync)
	defer done()
	if !cache.WaitFor(within, "", f.next.informer.HasSyncedChecker()) {
		if ctx.Err() == nil && !f.next.slow {
			f.next.slow = true
			f.source.log.Warn("kind not listed yet, going on", slog.String("kind", f.kind.String()), slog.String("version", f.next.version))
		}
		return false
	}
	f.use(f.next.informer.GetIndexer())
	if f.now != nil {
		f.now.stop()
	}
	f.now, f.next, f.gone = f.next, nil, time.Time{}
	f.using.Store(&f.now.version)
	f.source.log.Info("kind is followed", slog.String("kind", f.kind.String()), slog.String("version", f.now.version))
	return true
}

// hopeless tells that the API server answers with errors when it is asked for
// the objects, so that waiting for them may take for ever.
func (f *follower) hopeless() bool {
	return f.failing || f.next != nil && f.next.errors.Load() >= hopelessAfter
}

// leave ends following when the kind is gone and nothing of it is left. The API
// server deletes the objects of a CRD before the CRD, so a CRD that is gone
// while objects are left is an API server that starts and does not know all its
// resources yet; or, when that lasts, one whose last events we have missed.
func (f *follower) leave() {
	f.permit(true, nil)
	if f.now == nil {
		return
	}
	left := f.all()
	if len(left) > 0 {
		if f.gone.IsZero() {
			f.gone = time.Now()
		}
		if time.Since(f.gone) < f.source.cfg.MissingCRD {
			return
		}
	}
	f.end()
	f.store.Store(nil)
	for _, obj := range left {
		f.kind.changed(obj)
	}
	f.source.log.Info("kind is not followed any more: the API server has it no longer", slog.String("kind", f.kind.String()))
}

// end stops what runs. The store stays.
func (f *follower) end() {
	for _, m := range []*mirror{f.now, f.next} {
		if m != nil {
			m.stop()
		}
	}
	f.now, f.next, f.gone = nil, nil, time.Time{}
	f.using.Store(nil)
}

// allowed asks for one object, as an informer would ask again and again. It asks
// for no version: of version 0 the API server would send all that it has.
func (f *follower) allowed(ctx context.Context, gvr schema.GroupVersionResource) bool {
	ctx, cancel := context.WithTimeout(ctx, optionalSync)
	defer cancel()
	_, err := f.source.cfg.Dynamic.Resource(gvr).List(ctx, metav1.ListOptions{Limit: 1})
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		f.permit(false, err)
		return false
	}
	if err == nil {
		f.permit(true, nil)
	} else if !f.unlisted && !errors.Is(err, context.Canceled) {
		f.source.log.Warn("kind can't be listed, trying again: look at its CRD and the API server", slog.String("kind", f.kind.String()), slog.Any("error", err))
	}
	f.unlisted, f.failing = err != nil, isFinal(err)
	return err == nil
}

// permit notes whether we may see the kind, and says so once.
func (f *follower) permit(yes bool, err error) {
	switch {
	case yes && f.forbidden:
		f.source.log.Info("kind may be listed now", slog.String("kind", f.kind.String()))
	case !yes && !f.forbidden && f.now != nil:
		f.source.log.Warn("kind may not be listed any more: what was seen last stays until the ClusterRole isthmus-watcher allows list "+
			"and watch again (deploy/base/rbac.yaml)", slog.String("kind", f.kind.String()), slog.Any("error", err))
	case !yes && !f.forbidden && f.kind.declares:
		f.source.log.Error("kind may not be listed, and it says what is exported: nothing is published until the ClusterRole "+
			"isthmus-watcher allows list and watch (deploy/base/rbac.yaml)", slog.String("kind", f.kind.String()), slog.Any("error", err))
	case !yes && !f.forbidden:
		f.source.log.Warn("kind may not be listed, going on without it: for gateways and services that come from it, let the ClusterRole "+
			"isthmus-watcher list and watch it (deploy/base/rbac.yaml)", slog.String("kind", f.kind.String()), slog.Any("error", err))
	}
	f.forbidden = !yes
	value := 0.0
	if f.forbidden {
		value = 1
	}
	f.source.metrics.forbidden.WithLabelValues(f.kind.resource).Set(value)
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
