package kube

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// watching is a ListerWatcher of ours on an API server that is away for a
// number of requests. It notes from which version on it was asked last.
func watching(t *testing.T, away *int, asked *string) cache.ListerWatcherWithContext {
	t.Helper()
	lw := mirrored(
		reacher(t, &strings.Builder{}), "services", nil,
		func(_ context.Context, o metav1.ListOptions) (*corev1.ServiceList, error) {
			*asked = o.ResourceVersion
			return &corev1.ServiceList{}, nil
		},
		func(_ context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			*asked = o.ResourceVersion
			if *away > 0 {
				*away--
				return nil, errRefused
			}
			return apiwatch.NewFake(), nil
		},
	)
	return cache.ToListerWatcherWithContext(lw)
}

// TestBrokenWatchIsNotResumed: a watch that ended before its time is followed
// by a list, one that ended at its time by the next watch.
func TestBrokenWatchIsNotResumed(t *testing.T) {
	seconds, initial := int64(300), true
	resume := metav1.ListOptions{ResourceVersion: "7", TimeoutSeconds: &seconds}
	list := metav1.ListOptions{ResourceVersion: "7", TimeoutSeconds: &seconds, SendInitialEvents: &initial}
	for name, test := range map[string]struct {
		first  metav1.ListOptions
		lasts  time.Duration
		listed bool // between the two
		away   int  // requests that are refused at the second
		broken bool
	}{
		"ended at its time":                  {first: resume, lasts: 300 * time.Second},
		"ended almost at its time":           {first: resume, lasts: 299500 * time.Millisecond},
		"ended late":                         {first: resume, lasts: 400 * time.Second},
		"broken":                             {first: resume, lasts: 100 * time.Second, broken: true},
		"broken, and listed":                 {first: resume, lasts: 100 * time.Second, listed: true},
		"broken after it began with a list":  {first: list, lasts: time.Second, broken: true},
		"away when it is to be resumed":      {first: resume, lasts: 300 * time.Second, away: 3, broken: true},
		"listed, and away for the new watch": {first: resume, lasts: 100 * time.Second, listed: true, away: 1, broken: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				away, asked := 0, ""
				lw := watching(t, &away, &asked)
				_, err := lw.WatchWithContext(t.Context(), test.first)
				require.NoError(t, err)
				time.Sleep(test.lasts)
				if test.listed {
					_, err := lw.ListWithContext(t.Context(), metav1.ListOptions{})
					require.NoError(t, err)
				}
				away = test.away
				_, err = lw.WatchWithContext(t.Context(), resume)
				require.Equal(t, test.broken, apierrors.IsResourceExpired(err), "%v", err)
				if !test.broken {
					return
				}
				// The informer lists, by a watch that begins with it or by a list,
				// and leans on no version that it saw.
				_, err = lw.WatchWithContext(t.Context(), list)
				require.NoError(t, err)
				require.Empty(t, asked)
				_, err = lw.ListWithContext(t.Context(), list) // the stream was of no use
				require.NoError(t, err)
				require.Empty(t, asked)
				_, err = lw.WatchWithContext(t.Context(), resume)
				require.NoError(t, err)
				require.Equal(t, "7", asked)
			})
		})
	}
}
