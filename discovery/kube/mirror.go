package kube

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// mirror is a running informer on one version of an optional kind.
type mirror struct {
	version  string
	informer cache.SharedIndexInformer
	stop     func()       // ends it, and returns when it has
	slow     bool         // it was said that the list takes long
	errors   atomic.Int32 // how often the API server has answered with one
	denied   atomic.Bool  // it has said that we may not list or watch it
}

// mirror starts one; nil when there can't be any.
func (f *follower) mirror(ctx context.Context, gvr schema.GroupVersionResource) *mirror {
	objects := f.source.cfg.Dynamic.Resource(gvr)
	m := &mirror{version: gvr.Version, informer: cache.NewSharedIndexInformerWithOptions(
		mirrored(f.source, f.kind.resource, f.source.cfg.Dynamic, objects.List, objects.Watch),
		&unstructured.Unstructured{}, cache.SharedIndexInformerOptions{ObjectDescription: gvr.String(), Indexers: f.kind.indexers})}
	if err := f.source.prepare(setup{
		resource: f.kind.resource, informer: m.informer, trim: f.kind.trim, handler: each(f.kind.changed), failed: m.failed,
	}); err != nil {
		f.source.log.Error("kind not followed", slog.String("kind", f.kind.String()), slog.Any("error", err))
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { m.informer.RunWithContext(ctx) })
	m.stop = func() {
		cancel()
		wg.Wait()
	}
	return m
}

// hopelessAfter is how many errors an API server answers with that can't list a
// kind; one that elects a leader of its etcd has one or two.
const hopelessAfter = 3

// isFinal tells answers that asking again may not better from those of an API
// server that is away, or has too much to do.
func isFinal(err error) bool {
	return err != nil && !unreachable(err) && !apierrors.IsTooManyRequests(err) && !apierrors.IsTimeout(err) && !apierrors.IsServerTimeout(err)
}

// failed notes that a list or a watch has ended with an error.
func (m *mirror) failed(err error) {
	if isFinal(err) {
		m.errors.Add(1)
	}
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		m.denied.Store(true)
	}
}
