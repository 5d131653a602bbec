package kube

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// An informer that can't reach the API server waits up to a minute between
// tries (client-go's reflector, from the second half minute of an outage on),
// and while it does, it doesn't look whether it shall end. So an informer's
// requests are tried again here: from firstTry to everyTry apart, which is
// nothing to an API server that serves two or three watchers, and soon enough
// that what changed meanwhile is known within seconds of its return.
const (
	firstTry = 200 * time.Millisecond
	everyTry = 2 * time.Second
)

// mirrored is what one kind of object is listed and watched by.
func mirrored[L runtime.Object](s *Source, resource string, client any,
	list func(context.Context, metav1.ListOptions) (L, error),
	watching func(context.Context, metav1.ListOptions) (apiwatch.Interface, error),
) cache.ListerWatcher {
	last := &watches{}
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o = last.list(o)
			got, err := reach(ctx, s, resource, func() (runtime.Object, error) { return list(ctx, o) })
			if err == nil {
				last.listed()
			}
			return got, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			o, err := last.begin(o)
			if err != nil {
				return nil, err
			}
			tries := 0
			got, err := reach(ctx, s, resource, func() (apiwatch.Interface, error) {
				tries++
				return watching(ctx, o)
			})
			if err == nil && tries > 1 && resumes(o) { // the API server was away meanwhile
				got.Stop()
				return nil, last.broken()
			}
			return got, err
		},
	}, client)
}

// reach asks until the API server itself answers, be it by a refusal, or ctx ends.
func reach[T any](ctx context.Context, s *Source, resource string, ask func() (T, error)) (T, error) {
	for wait := firstTry; ; wait = min(2*wait, everyTry) {
		got, err := ask()
		if !unreachable(err) || ctx.Err() != nil {
			if wait > firstTry && err == nil {
				s.log.Info("API server is back", slog.String("resource", resource))
			}
			return got, err
		}
		s.metrics.watchErrors.WithLabelValues(resource).Inc()
		if wait == firstTry { // once an outage
			s.log.Warn("API server not reached", slog.String("resource", resource), slog.Any("error", err))
		}
		if !pause(ctx, wait/2+rand.N(wait)) {
			return got, err
		}
	}
}

// unreachable tells errors of the way to the API server from its answers, for
// which client-go knows what to do. A load balancer before API servers that are
// away speaks for the way, although client-go makes a Status of what it says.
func unreachable(err error) bool {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		return err != nil
	}
	if apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) {
		return false // by 504: its etcd is older than what we saw, and asking again would not help
	}
	switch answer.Status().Code {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}
