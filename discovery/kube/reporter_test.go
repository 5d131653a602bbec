package kube

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// writesOnly is an API server that takes, or refuses, what is told of Services.
type writesOnly struct {
	refuse func(name string) metav1.StatusReason // "": it takes it; nil: all

	mu    sync.Mutex
	tries map[string]int // by what is written: "patch NAME" or "create NAME"
}

// eventName is found in an Event however it is encoded.
var eventName = regexp.MustCompile(`(s[0-9]+)\.[0-9a-f]{16}`)

func (s *writesOnly) RoundTrip(req *http.Request) (*http.Response, error) {
	sent, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(req.URL.Path, "/")
	name := parts[len(parts)-2] // NAME/status
	what := "patch " + name
	if req.Method == http.MethodPost {
		name = string(eventName.FindSubmatch(sent)[1])
		what = "create " + name
	}
	s.mu.Lock()
	s.tries[what]++
	s.mu.Unlock()
	reason := metav1.StatusReason("")
	if s.refuse != nil {
		reason = s.refuse(name)
	}
	code := map[metav1.StatusReason]int{"": 200, metav1.StatusReasonForbidden: 403, metav1.StatusReasonInvalid: 422}[reason]
	body := `{"kind":"ServiceExport","apiVersion":"multicluster.x-k8s.io/v1beta1"}`
	if code != http.StatusOK {
		body = fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, code)
	} else if req.Method == http.MethodPost {
		body = `{"kind":"Event","apiVersion":"v1"}`
	}
	return &http.Response{StatusCode: code, Request: req, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// tried is how often something was written, or tried to be, of all that begins so.
func (s *writesOnly) tried(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for w, times := range s.tries {
		if strings.HasPrefix(w, what) {
			n += times
		}
	}
	return n
}

func (s *writesOnly) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries[what]
}

// declared is a watch with that many Services s0, s1… and their ServiceExports,
// whose conditions stay as they are.
func declared(t *testing.T, server *writesOnly, services int) *watch {
	t.Helper()
	server.tries = map[string]int{}
	w := newWatchOn(t, &rest.Config{Host: "http://api.example", Transport: server})
	store := cache.NewIndexer(cache.MetaNamespaceKeyFunc, nil)
	for i := range services {
		name := fmt.Sprint("s", i)
		e := &serviceExport{}
		e.Namespace, e.Name = "shop", name
		require.NoError(t, store.Add(e))
		w.put(t, name)
		w.note(name, "")
	}
	w.kinds.exports.store.Store(&store)
	w.kinds.exports.using.Store(new("v1beta1"))
	return w
}

// note has a Service exported, with problems.
func (w *watch) note(name, problems string) {
	w.source.verdicts.note(cache.NewObjectName("shop", name), &verdict{exported: true, own: true, problems: problems})
}

// TestNothingIsNewsBeforeTheFirstUpdate: a replica that leads before it has read
// the cluster makes no Events of what was exported long ago.
func TestNothingIsNewsBeforeTheFirstUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &writesOnly{}
		w := declared(t, server, 0)
		go w.source.Report(t.Context())
		time.Sleep(time.Minute)
		w.note("s0", "")
		w.put(t, "s0")
		time.Sleep(time.Minute)
		w.source.began()
		time.Sleep(time.Minute)
		require.Zero(t, server.tried("create"))
		w.note("s1", "")
		w.put(t, "s1")
		time.Sleep(time.Minute)
		require.Equal(t, 1, server.tried("create"), "this one is new")
	})
}

// TestForbiddenWritesAreNotRepeated: a role without these rights is no load.
func TestForbiddenWritesAreNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &writesOnly{refuse: func(string) metav1.StatusReason { return metav1.StatusReasonForbidden }}
		w := declared(t, server, 300)
		w.source.began()
		go w.source.Report(t.Context())
		time.Sleep(10 * time.Minute)
		require.LessOrEqual(t, server.tried("patch"), 11)
		require.GreaterOrEqual(t, server.tried("patch"), 5, "the right may be given back")
	})
}

// TestARefusedWriteHoldsUpNoOther: an object that the API server won't have
// changed is left alone, and the others are told.
func TestARefusedWriteHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &writesOnly{refuse: func(name string) metav1.StatusReason {
			if name == "s7" {
				return metav1.StatusReasonInvalid
			}
			return ""
		}}
		w := declared(t, server, 50)
		w.source.began()
		go w.source.Report(t.Context())
		time.Sleep(20 * time.Second)
		for i := range 50 {
			require.Equal(t, 1, server.count(fmt.Sprint("patch s", i)), "s%d", i)
		}
		time.Sleep(10 * time.Minute)
		require.LessOrEqual(t, server.count("patch s7"), paceBurst+11)
	})
}

// TestAServiceThatGoesToAndFroCostsLittle: nor does one take the turn of others.
func TestAServiceThatGoesToAndFroCostsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &writesOnly{}
		w := declared(t, server, 1)
		w.source.began()
		go w.source.Report(t.Context())
		for i := range 600 {
			w.note("s0", fmt.Sprint("problem ", i))
			time.Sleep(time.Second)
		}
		require.LessOrEqual(t, server.tried(""), paceBurst+11)
		require.GreaterOrEqual(t, server.tried(""), paceBurst)
		w.put(t, "s1")
		w.note("s1", "a problem")
		time.Sleep(2 * time.Second)
		require.Equal(t, 2, server.count("create s1"), "that it is exported, and the problem")
	})
}

// TestWhoHasLostTheLeaseTellsNothing: a process that was stopped learns of it
// before its context ends.
func TestWhoHasLostTheLeaseTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &writesOnly{}
		w := declared(t, server, 3)
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				LeaseMeta: metav1.ObjectMeta{Namespace: "isthmus", Name: LeaseName}, Client: w.source.cfg.Client.CoordinationV1(),
				LockConfig: resourcelock.ResourceLockConfig{Identity: "a"},
			},
			LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
			Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(_ context.Context) {}, OnStoppedLeading: func() {}},
		})
		require.NoError(t, err)
		w.source.elector.Store(elector)
		w.source.began()
		go w.source.Report(t.Context())
		time.Sleep(time.Minute)
		require.Zero(t, server.tried(""))
		w.source.elector.Store(nil) // as tests have it that know no Lease
		time.Sleep(time.Minute)
		require.Equal(t, 3, server.tried("patch"))
	})
}

// TestConditionsOfOldCRDs: they have no observedGeneration, and are not written
// again for want of it.
func TestConditionsOfOldCRDs(t *testing.T) {
	e := &serviceExport{}
	e.Generation = 1
	want := conditions(&verdict{exported: true, own: true}, true, "", "")
	all, changed := merged(e, want)
	require.True(t, changed)
	require.EqualValues(t, 1, all[0].ObservedGeneration)
	e.Status.Conditions = all
	_, changed = merged(e, want)
	require.False(t, changed)
	for i := range e.Status.Conditions {
		e.Status.Conditions[i].ObservedGeneration = 0 // pruned
	}
	_, changed = merged(e, want)
	require.False(t, changed)
	e.Status.Conditions[0], e.Status.Conditions[2] = e.Status.Conditions[2], e.Status.Conditions[0]
	_, changed = merged(e, want)
	require.False(t, changed, "another order is no change")
}
