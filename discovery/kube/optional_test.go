package kube

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/isthmus-dns/isthmus/discovery"
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
				clients, err := ConnectTo(&rest.Config{Host: "http://api.example", Transport: test.server})
				require.NoError(t, err)
				var text strings.Builder
				source, err := New(Config{
					Client: clients.Kubernetes, Dynamic: clients.Dynamic, Namespace: "isthmus", Identity: "a",
					Cluster: func([]*corev1.Node, string) *discovery.Cluster { return nil },
					Logger:  slog.New(slog.NewTextHandler(&text, nil)),
				})
				require.NoError(t, err)
				w, err := source.watch()
				require.NoError(t, err)
				go w.kinds.run(t.Context())
				known := func() bool {
					synctest.Wait()
					select {
					case <-w.kinds.known:
						return true
					default:
						return false
					}
				}
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
