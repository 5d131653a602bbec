package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// broken is an API server that has one optional kind and can't list it.
type broken struct{ group, resource string }

func (b broken) RoundTrip(req *http.Request) (*http.Response, error) {
	answer := func(code int, body any) (*http.Response, error) {
		text, err := json.Marshal(body)
		return &http.Response{
			StatusCode: code, Request: req, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(string(text))),
		}, err
	}
	status := func(code int32, reason metav1.StatusReason) (*http.Response, error) {
		return answer(int(code), metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: code, Reason: reason})
	}
	switch req.URL.Path {
	case "/apis/" + b.group:
		return answer(http.StatusOK, metav1.APIResourceList{
			TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, APIResources: []metav1.APIResource{{Name: b.resource, Namespaced: true}},
		})
	case "/apis/" + b.group + "/" + b.resource:
		return status(http.StatusInternalServerError, metav1.StatusReasonInternalError)
	}
	return status(http.StatusNotFound, metav1.StatusReasonNotFound)
}

// ingresses is an API server that has Ingresses, and nothing else.
type ingresses struct {
	takes  time.Duration // how long a list does
	hangs  bool          // so does what asks for one object
	errors atomic.Int32  // how many lists fail before one does not
	name   atomic.Value  // of the one that is there, a string
	denied atomic.Bool
	absent atomic.Bool // it does not know the kind
}

func (i *ingresses) RoundTrip(req *http.Request) (*http.Response, error) {
	known := broken{"networking.k8s.io/v1", "ingresses"}
	if i.absent.Load() || req.URL.Path != "/apis/"+known.group+"/"+known.resource {
		if i.absent.Load() {
			known.group = "none"
		}
		return known.RoundTrip(req)
	}
	answer := func(code int, body io.Reader) (*http.Response, error) {
		return &http.Response{StatusCode: code, Request: req, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(body)}, nil
	}
	status := func(code int, reason metav1.StatusReason) (*http.Response, error) {
		return answer(code, strings.NewReader(fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, code)))
	}
	query := req.URL.Query()
	switch {
	case i.denied.Load():
		return status(http.StatusForbidden, metav1.StatusReasonForbidden)
	case query.Get("sendInitialEvents") == "true": // an API server that can't
		return status(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
	case query.Get("watch") == "true":
		seconds, _ := strconv.Atoi(query.Get("timeoutSeconds"))
		return answer(http.StatusOK, silence{req.Context(), time.Duration(seconds) * time.Second})
	case query.Get("limit") == "1" && !i.hangs:
	case i.errors.Add(-1) >= 0:
		return status(http.StatusInternalServerError, metav1.StatusReasonInternalError)
	case !pause(req.Context(), i.takes):
		return nil, req.Context().Err()
	}
	items := ""
	if name, _ := i.name.Load().(string); name != "" {
		items = `{"kind":"Ingress","apiVersion":"networking.k8s.io/v1","metadata":{"namespace":"shop","name":"` + name + `","uid":"u","resourceVersion":"7"}}`
	}
	return answer(http.StatusOK, strings.NewReader(
		`{"kind":"IngressList","apiVersion":"networking.k8s.io/v1","metadata":{"resourceVersion":"7"},"items":[`+items+`]}`))
}

// silence is a watch in which nothing happens, to its end.
type silence struct {
	ctx   context.Context
	lasts time.Duration
}

func (s silence) Read([]byte) (int, error) {
	pause(s.ctx, s.lasts)
	return 0, io.EOF
}

// kindsOf runs the optional kinds of an API server and tells whether they are
// known.
func kindsOf(t *testing.T, server http.RoundTripper, text *strings.Builder) (w *watch, known func() bool) {
	t.Helper()
	clients, err := ConnectTo(&rest.Config{Host: "http://api.example", Transport: server})
	require.NoError(t, err)
	source, err := New(Config{
		Client: clients.Kubernetes, Dynamic: clients.Dynamic, Namespace: "isthmus", Identity: "a",
		Cluster: func([]*corev1.Node, string) *discovery.Cluster { return nil },
		Logger:  slog.New(slog.NewTextHandler(text, nil)),
	})
	require.NoError(t, err)
	w, err = source.watch()
	require.NoError(t, err)
	go w.kinds.run(t.Context())
	return w, func() bool {
		synctest.Wait()
		select {
		case <-w.kinds.known:
			return true
		default:
			return false
		}
	}
}

// TestKindThatTakesLong: nothing is published without the gateways that a kind
// tells of only because its list takes longer than others.
func TestKindThatTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		server := &ingresses{takes: 5 * time.Minute}
		server.errors.Store(2) // etcd elects a leader
		_, known := kindsOf(t, server, &text)
		time.Sleep(5*time.Minute - time.Second) // in the bubble
		require.False(t, known())
		time.Sleep(2 * optionalSync)
		require.True(t, known())
		require.Equal(t, 1, strings.Count(text.String(), "kind not listed yet"), text.String())
	})
}

// TestNoAnswerIsNoError: nor is anything published because the API server says
// nothing at all for a while.
func TestNoAnswerIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		_, known := kindsOf(t, &ingresses{takes: time.Hour, hangs: true}, &text)
		time.Sleep(30 * time.Minute)
		require.False(t, known())
	})
}

// TestRightThatIsTakenBack: what was seen stays, it is said, and what has
// changed meanwhile is seen when the right is back.
func TestRightThatIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		server := &ingresses{}
		server.name.Store("before")
		w, known := kindsOf(t, server, &text)
		time.Sleep(time.Second)
		require.True(t, known())
		there := func(name string) bool {
			synctest.Wait()
			return w.kinds.ingress(export.Object{Namespace: "shop", Name: name}) != nil
		}
		forbidden := func() float64 {
			registry := prometheus.NewRegistry()
			require.NoError(t, registry.Register(w.source.metrics.forbidden))
			got, err := registry.Gather()
			require.NoError(t, err)
			for _, m := range got[0].GetMetric() {
				if m.GetLabel()[0].GetValue() == "ingresses" {
					return m.GetGauge().GetValue()
				}
			}
			return -1
		}
		require.True(t, there("before"))
		server.denied.Store(true)
		server.name.Store("after")
		time.Sleep(20 * time.Minute) // a watch lasts 10 at most
		require.True(t, there("before"))
		require.Equal(t, 1.0, forbidden())
		require.Equal(t, 1, strings.Count(text.String(), "kind may not be listed any more"), text.String())
		server.denied.Store(false)
		time.Sleep(2 * time.Minute)
		require.False(t, there("before"))
		require.True(t, there("after"))
		require.Equal(t, 0.0, forbidden())
	})
}

// TestKindThatGoesUnseen: an API server that does not know a kind may be
// starting; one that still doesn't after an hour has lost it, and we have missed
// how its objects went.
func TestKindThatGoesUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		server := &ingresses{}
		server.name.Store("web")
		w, known := kindsOf(t, server, &text)
		time.Sleep(time.Second)
		require.True(t, known())
		there := func() bool {
			synctest.Wait()
			return w.kinds.ingress(export.Object{Namespace: "shop", Name: "web"}) != nil
		}
		server.absent.Store(true)
		time.Sleep(defaultMissingCRD - 2*time.Minute)
		require.True(t, there())
		server.absent.Store(false)
		time.Sleep(30 * time.Minute)
		require.True(t, there())
		server.absent.Store(true)
		time.Sleep(defaultMissingCRD - 2*time.Minute)
		require.True(t, there(), "the second absence has its own hour")
		time.Sleep(4 * time.Minute)
		require.False(t, there())
		require.False(t, w.kinds.ingresses.follows())
	})
}

// TestKindThatCannotBeListed: one that tells of gateways is waited for a while
// before the first update, one that declares exports without end.
func TestKindThatCannotBeListed(t *testing.T) {
	for name, test := range map[string]struct {
		server broken
		goesOn bool
	}{
		"gateways":       {broken{"gateway.networking.k8s.io/v1", "gateways"}, true},
		"serviceexports": {broken{"multicluster.x-k8s.io/v1beta1", "serviceexports"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var text strings.Builder
				_, known := kindsOf(t, test.server, &text)
				time.Sleep(optionalPatience - 2*time.Second) // in the bubble
				require.False(t, known())
				time.Sleep(4 * time.Second)
				require.Equal(t, test.goesOn, known())
				time.Sleep(time.Hour)
				require.Equal(t, test.goesOn, known())
				require.Equal(t, 1, strings.Count(text.String(), "kind can't be listed"), "it is said once: %s", text.String())
			})
		})
	}
}
