package kube

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var errRefused = errors.New("connect: connection refused")

// reacher is a source whose requests can be made to fail.
func reacher(t *testing.T, log *strings.Builder) *Source {
	t.Helper()
	m, err := newMetrics(nil)
	require.NoError(t, err)
	return &Source{log: slog.New(slog.NewTextHandler(log, nil)), metrics: m}
}

// TestReachIsSoonBack: however long the API server was away, it is asked again
// within 3 s, and not all the time meanwhile.
func TestReachIsSoonBack(t *testing.T) {
	for _, away := range []time.Duration{time.Second, 20 * time.Second, time.Hour} {
		t.Run(away.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &strings.Builder{}
				back := time.Now().Add(away)
				tries := 0
				got, err := reach(t.Context(), reacher(t, log), "services", func() (string, error) {
					if tries++; time.Now().Before(back) {
						return "", errRefused
					}
					return "all", nil
				})
				require.NoError(t, err)
				require.Equal(t, "all", got)
				require.LessOrEqual(t, time.Since(back), 3*time.Second)
				require.LessOrEqual(t, tries, 6+int(away/time.Second))
				require.Equal(t, 1, strings.Count(log.String(), "API server not reached"), "once an outage")
				require.Equal(t, 1, strings.Count(log.String(), "API server is back"))
			})
		})
	}
}

// TestReachEnds: who shall end does so at once, also while nobody answers.
func TestReachEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		began := time.Now()
		_, err := reach(ctx, reacher(t, &strings.Builder{}), "services", func() (string, error) { return "", errRefused })
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, 10*time.Minute, time.Since(began))
	})
}

// TestReachKnowsAnswers: a refusal is an answer, which client-go deals with;
// what a load balancer says of an API server that is away is none.
func TestReachKnowsAnswers(t *testing.T) {
	services := schema.GroupResource{Resource: "services"}
	generic := func(code int) error {
		return apierrors.NewGenericServerResponse(code, "GET", services, "", "<html>", 0, true)
	}
	future := apierrors.NewTimeoutError("Too large resource version: 9, current: 5", 1)
	future.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge}}
	for name, test := range map[string]struct {
		err   error
		again bool
	}{
		"version of the future": {future, false},
		"forbidden":             {apierrors.NewForbidden(services, "", nil), false},
		"gone":                  {apierrors.NewResourceExpired("too old"), false},
		"too many requests":     {apierrors.NewTooManyRequests("later", 1), false},
		"internal error":        {apierrors.NewInternalError(errRefused), false},
		"bad gateway":           {generic(502), true},
		"service unavailable":   {apierrors.NewServiceUnavailable("starting"), true},
		"gateway timeout":       {generic(504), true},
		"connection refused":    {errRefused, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &strings.Builder{}
				tries := 0
				_, err := reach(t.Context(), reacher(t, log), "services", func() (string, error) {
					if tries++; tries > 1 {
						return "", nil
					}
					return "", test.err
				})
				if test.again {
					require.NoError(t, err)
					require.Equal(t, 2, tries)
					return
				}
				require.ErrorIs(t, err, test.err)
				require.Equal(t, 1, tries)
				require.Empty(t, log.String())
			})
		})
	}
}
