package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/isthmus-dns/isthmus/discovery/export"
)

// The names of the indexes.
const (
	byService = "service"    // slices by "namespace/name" of their Service
	usesNodes = "uses-nodes" // Services whose record depends on nodes, all under usesNodes
)

// clusterRecord is the queue's key of the cluster's own record. No object has
// an empty name.
var clusterRecord = cache.ObjectName{}

// informers mirror what the source reads of the cluster. Their handlers only
// name what must be looked at again.
type informers struct {
	services, slices, nodes cache.SharedIndexInformer
	enqueue                 func(cache.ObjectName)
	// refers tells whether a gateway set takes addresses from an object.
	refers func(export.From, export.Object) bool
}

func (s *Source) informers(enqueue func(cache.ObjectName)) (*informers, error) {
	in := &informers{enqueue: enqueue, refers: s.refers}
	services := s.cfg.Client.CoreV1().Services(metav1.NamespaceAll)
	slices := s.cfg.Client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll)
	nodes := s.cfg.Client.CoreV1().Nodes()
	in.services = cache.NewSharedIndexInformer(mirrored(s, "services", s.cfg.Client, services.List, services.Watch),
		&corev1.Service{}, 0, cache.Indexers{usesNodes: indexUsesNodes})
	in.slices = cache.NewSharedIndexInformer(mirrored(s, "endpointslices", s.cfg.Client, slices.List, slices.Watch),
		&discoveryv1.EndpointSlice{}, 0, cache.Indexers{byService: indexByService})
	in.nodes = cache.NewSharedIndexInformer(mirrored(s, "nodes", s.cfg.Client, nodes.List, nodes.Watch), &corev1.Node{}, 0, nil)
	for _, set := range []setup{
		{resource: "services", informer: in.services, trim: trimService, handler: each(in.serviceChanged)},
		{resource: "endpointslices", informer: in.slices, trim: trimSlice, handler: each(in.sliceChanged)},
		{resource: "nodes", informer: in.nodes, trim: trimNode, handler: changes(sameNode, in.nodesChanged)},
	} {
		if err := s.prepare(set); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// setup is what an informer is told before it runs.
type setup struct {
	resource string
	informer cache.SharedIndexInformer
	trim     cache.TransformFunc
	handler  cache.ResourceEventHandler
	// failed is told of lists and watches that the API server answers with an
	// error; nil: nobody is.
	failed func(error)
}

func (s *Source) prepare(set setup) error {
	if err := set.informer.SetTransform(set.trim); err != nil {
		return fmt.Errorf("informer on %s: %w", set.resource, err)
	}
	if err := set.informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
		if ctx.Err() != nil {
			return // it was told to end
		}
		s.metrics.watchErrors.WithLabelValues(set.resource).Inc()
		if errors.Is(err, io.EOF) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			return // it goes on at once, or lists anew
		}
		s.log.Warn("list or watch failed, trying again", slog.String("resource", set.resource), slog.Any("error", err))
		if set.failed != nil {
			set.failed(err)
		}
	}); err != nil {
		return fmt.Errorf("informer on %s: %w", set.resource, err)
	}
	if _, err := set.informer.AddEventHandler(set.handler); err != nil {
		return fmt.Errorf("informer on %s: %w", set.resource, err)
	}
	return nil
}

// run mirrors until ctx ends. While the API server is away they try again
// (see reach.go); what they hold stays meanwhile.
func (in *informers) run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, informer := range []cache.SharedIndexInformer{in.services, in.slices, in.nodes} {
		wg.Go(func() { informer.RunWithContext(ctx) })
	}
	wg.Wait()
}

// synced waits until everything that was there at the start is mirrored.
func (in *informers) synced(ctx context.Context) bool {
	return cache.WaitFor(ctx, "", in.services.HasSyncedChecker(), in.slices.HasSyncedChecker(), in.nodes.HasSyncedChecker())
}

func (in *informers) serviceChanged(obj any) {
	if svc, ok := obj.(*corev1.Service); ok {
		in.look(svc.Namespace, svc.Name)
	}
}

// look has a Service looked at, and the cluster's record too if a gateway set
// takes addresses from it.
func (in *informers) look(namespace, name string) {
	in.enqueue(cache.NewObjectName(namespace, name))
	if in.refers(export.FromService, export.Object{Namespace: namespace, Name: name}) {
		in.enqueue(clusterRecord)
	}
}

func (in *informers) sliceChanged(obj any) {
	if slice, ok := obj.(*discoveryv1.EndpointSlice); ok {
		if namespace, name := export.Owner(slice); name != "" {
			in.look(namespace, name)
		}
	}
}

// nodesChanged looks at all Services that depend on nodes: which of them the
// node matters to is export's to say, and looking costs microseconds each.
func (in *informers) nodesChanged(any) {
	in.enqueue(clusterRecord)
	dependents, err := in.services.GetIndexer().IndexKeys(usesNodes, usesNodes)
	if err != nil {
		return // only an index that doesn't exist is an error
	}
	for _, key := range dependents {
		if name, err := cache.ParseObjectName(key); err == nil {
			in.enqueue(name)
		}
	}
}

func (in *informers) service(key cache.ObjectName) *corev1.Service {
	svc, _ := get(in.services, key.String()).(*corev1.Service)
	return svc
}

func (in *informers) node(name string) *corev1.Node {
	node, _ := get(in.nodes, name).(*corev1.Node)
	return node
}

func (in *informers) slicesOf(key cache.ObjectName) []*discoveryv1.EndpointSlice {
	objs, err := in.slices.GetIndexer().ByIndex(byService, key.String())
	if err != nil {
		return nil // only an index that doesn't exist is an error
	}
	return typed[*discoveryv1.EndpointSlice](objs)
}

// get looks an object up; the cache's error is always nil.
func get(informer cache.SharedIndexInformer, key string) any {
	obj, _, _ := informer.GetIndexer().GetByKey(key)
	return obj
}

func typed[T any](objs []any) []T {
	out := make([]T, 0, len(objs))
	for _, obj := range objs {
		if t, ok := obj.(T); ok {
			out = append(out, t)
		}
	}
	return out
}

func indexByService(obj any) ([]string, error) {
	if slice, ok := obj.(*discoveryv1.EndpointSlice); ok {
		if namespace, name := export.Owner(slice); name != "" {
			return []string{cache.NewObjectName(namespace, name).String()}, nil
		}
	}
	return nil, nil
}

func indexUsesNodes(obj any) ([]string, error) {
	if svc, ok := obj.(*corev1.Service); ok && export.UsesNodes(svc) {
		return []string{usesNodes}, nil
	}
	return nil, nil
}

// sameNode compares all but the version: what the transform left is what
// counts.
func sameNode(old, obj any) bool {
	before, ok := old.(*corev1.Node)
	after, ok2 := obj.(*corev1.Node)
	if !ok || !ok2 {
		return false
	}
	a, b := *before, *after
	a.ResourceVersion, b.ResourceVersion = "", ""
	return reflect.DeepEqual(&a, &b)
}

// each calls f for every object that an event is about: for an update the old
// one too, as a slice may have changed its owner.
func each(f func(obj any)) cache.ResourceEventHandler {
	return changes(func(_, _ any) bool { return false }, f)
}

// changes is each without updates that leave an object the same.
func changes(same func(old, obj any) bool, f func(obj any)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: f,
		UpdateFunc: func(old, obj any) {
			if !same(old, obj) {
				f(old)
				f(obj)
			}
		},
		DeleteFunc: func(obj any) {
			if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = tombstone.Obj
			}
			f(obj)
		},
	}
}
