package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/probe"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/plugin/isthmus"
)

type fakeState struct {
	table   *discovery.Table
	members []Member
	leading bool
	ready   bool
	heard   map[string]time.Time
	checks  *probe.Snapshot
	overlap discovery.Overlaps
}

func (s *fakeState) Table() *discovery.Table { return s.table }
func (s *fakeState) Members() []Member       { return s.members }
func (s *fakeState) Leading() bool           { return s.leading }
func (s *fakeState) Ready() bool             { return s.ready }

func (s *fakeState) Overlaps() *discovery.Overlaps { return &s.overlap }

var shown = Config{Loaded: time.Unix(1_700_000_060, 0).UTC(), Restart: []string{"http"}, Routing: "default", Health: "every 5s"}

func (s *fakeState) Config() Config { return shown }

func (s *fakeState) Checks() *probe.Snapshot {
	if s.checks == nil {
		return &probe.Snapshot{}
	}
	return s.checks
}

func (s *fakeState) Heard(cluster string) (time.Time, bool) {
	at, ok := s.heard[cluster]
	return at, ok
}

// Explain is a real explainer's, seen from west.
func (s *fakeState) Explain(q isthmus.Question) (*isthmus.Explanation, error) {
	view := &replica.View{Cluster: "west", Locality: discovery.Locality{Region: "us-west1", Zone: "us-west1-a"}}
	return isthmus.NewExplainer(isthmus.Knowledge{
		Table: s.table, View: func() *replica.View { return view }, Heard: s.Heard,
	}, slog.New(slog.DiscardHandler)).Explain(q)
}

var about = About{Version: "v1", Clusterset: "prod", Cluster: "west", Watcher: "w-0.west", Started: time.Unix(1_700_000_000, 0).UTC()}

func newService(namespace, name string, ready uint32) *discovery.Service {
	return &discovery.Service{
		Namespace: namespace, Name: name, Kind: discovery.KindClusterIP,
		ClusterIPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
		Ports:      []discovery.Port{{Name: "http", Protocol: discovery.TCP, Port: 80, Gateway: 30080}},
		Counts:     []discovery.ZoneCount{{Ready: ready, Total: ready + 1}},
	}
}

func filled() *fakeState {
	s := &fakeState{table: discovery.NewTable(), leading: true, ready: true, members: []Member{{Name: "w-0.west", Cluster: "west", Address: "192.0.2.1:7946", Self: true}}}
	gateway := discovery.Gateway{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10")}, Port: 443, Kind: discovery.GatewayStatic}
	s.table.Apply("west", discovery.Update{
		Cluster: &discovery.Cluster{
			Name: "west", UID: "u", Locality: discovery.Locality{Region: "us-west1", Zone: "us-west1-a"},
			GatewaySets: []discovery.GatewaySet{{Name: discovery.DefaultGatewaySet, Gateways: []discovery.Gateway{gateway}}},
		},
		Whole: true, Services: []*discovery.Service{newService("production", "user", 2), newService("apollo", "config", 0)},
	}, discovery.Version{Epoch: 3, Seq: 7})
	s.table.Apply("east", discovery.Update{Whole: true, Services: []*discovery.Service{newService("production", "user", 5)}}, discovery.Version{Epoch: 1, Seq: 1})
	return s
}

// serve runs a server as a watcher does.
func serve(t *testing.T, state State) *Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	s := New(about, state, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	go func() { result <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-result)
	})
	c, err := NewClient(l.Addr().String())
	require.NoError(t, err)
	return c
}

func TestStatus(t *testing.T) {
	state := filled()
	state.heard = map[string]time.Time{"west": time.Now().Add(-time.Hour)}
	got, err := serve(t, state).Status(t.Context())
	require.NoError(t, err)
	age := got.Clusters[1].AgeSeconds
	require.NotNil(t, age)
	require.InDelta(t, 3600, *age, 60)
	require.Equal(t, Status{
		About: about, Leading: true, Ready: true, Config: shown,
		Clusters: []Cluster{
			{Name: "east", Epoch: 1, Seq: 1, Services: 1},
			{Name: "west", UID: "u", Locality: "us-west1/us-west1-a", Epoch: 3, Seq: 7, AgeSeconds: age, Services: 2, Gateways: 1},
		},
		Members: []Member{{Name: "w-0.west", Cluster: "west", Address: "192.0.2.1:7946", Self: true}},
	}, got)
}

// TestOverlaps: nothing is said of none.
func TestOverlaps(t *testing.T) {
	state := filled()
	c := serve(t, state)
	got, err := c.Status(t.Context())
	require.NoError(t, err)
	require.Nil(t, got.Overlaps)
	state.overlap = discovery.Overlaps{Pairs: 3, Listed: []discovery.Overlap{{
		Network: "vpc",
		A:       discovery.Claim{Cluster: "east", Use: discovery.ForServices, Prefix: netip.MustParsePrefix("10.96.0.0/12")},
		B:       discovery.Claim{Cluster: "west", Use: discovery.ForPods, Prefix: netip.MustParsePrefix("10.97.0.0/16")},
	}}}
	got, err = c.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, &Overlaps{Pairs: 3, Listed: []Overlap{{Network: "vpc", Claims: [2]Claim{
		{Cluster: "east", Use: "services", Prefix: netip.MustParsePrefix("10.96.0.0/12")},
		{Cluster: "west", Use: "pods", Prefix: netip.MustParsePrefix("10.97.0.0/16")},
	}}}}, got.Overlaps)
}

// TestChecks: gateways are told of by cluster, and by address.
func TestChecks(t *testing.T) {
	state := filled()
	gateway := func(last byte, port uint16) discovery.Gateway {
		return discovery.Gateway{Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, last})}, Port: port, Kind: discovery.GatewayStatic}
	}
	state.table.Apply("east", discovery.Update{Cluster: &discovery.Cluster{Name: "east", UID: "e", GatewaySets: []discovery.GatewaySet{
		{Name: discovery.DefaultGatewaySet, Gateways: []discovery.Gateway{gateway(1, 443), gateway(2, 443), gateway(3, 443)}},
		{Name: "ports", Gateways: []discovery.Gateway{gateway(4, 0)}},
	}}}, discovery.Version{Epoch: 1, Seq: 2})
	prober, err := probe.New(probe.Config{})
	require.NoError(t, err)
	targets := probe.Of(state.table, "west")
	prober.SetTargets(targets)
	since := time.Now()
	status := []probe.Status{probe.Up, probe.Up, probe.Down}
	var results []probe.Result
	for _, r := range prober.Snapshot().Cluster("east") {
		n := int(r.Target.Addr.As4()[3])
		r.State = probe.State{Status: status[n-1], Since: since, RTT: probe.RTT{Smoothed: time.Duration(n) * 20 * time.Millisecond}}
		if r.Status == probe.Down {
			r.Error = "connection refused"
		}
		results = append(results, r)
	}
	prober.Adopt(results)
	state.checks = prober.Snapshot()
	c := serve(t, state)
	got, err := c.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, &Checked{Up: 2, Down: 1, Unknown: 1, RTTSeconds: .02}, got.Clusters[0].Checked)
	require.Nil(t, got.Clusters[1].Checked, "our own")
	all, err := c.Checks(t.Context())
	require.NoError(t, err)
	require.Len(t, all.Gateways, 6, "at the gateways' own port, and at the one that a service has there")
	require.NotNil(t, all.Gateways[4].Since)
	require.True(t, since.Equal(*all.Gateways[4].Since))
	all.Gateways[4].Since = nil
	require.Equal(t, Check{
		Cluster: "east", Address: netip.MustParseAddrPort("192.0.2.3:443"), Check: "tcp", Status: "down", RTTSeconds: .06, Error: "connection refused",
	}, all.Gateways[4])
}

func TestServices(t *testing.T) {
	c := serve(t, filled())
	all, err := c.Services(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, "apollo", all[0].Namespace)
	require.Equal(t, "user", all[1].Name)
	require.Equal(t, []string{"east", "west"}, []string{all[1].Clusters[0].Cluster, all[1].Clusters[1].Cluster})
	require.Nil(t, all[1].Clusters[0].Gateways, "east has no record yet")
	require.Equal(t, Exported{
		Cluster: "west", Kind: "clusterip", Ready: 2, Total: 3, Weight: 1,
		ClusterIPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
		Ports:      []Port{{Name: "http", Protocol: "tcp", Port: 80, Gateway: 30080}},
		Gateways:   []Gateway{{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10")}, Port: 443, Kind: "static"}},
	}, all[1].Clusters[1])
	one, err := c.Services(t.Context(), "apollo")
	require.NoError(t, err)
	require.Len(t, one, 1)
}

func TestExplain(t *testing.T) {
	state := filled()
	c := serve(t, state)
	e, err := c.Explain(t.Context(), isthmus.Question{
		Name: "user.production.global.", Client: netip.MustParseAddr("10.0.0.7"), Without: []string{"east"},
	})
	require.NoError(t, err)
	want, err := state.Explain(isthmus.Question{Name: "user.production", Client: netip.MustParseAddr("10.0.0.7"), Without: []string{"east"}})
	require.NoError(t, err)
	require.Equal(t, want, e)
	require.Equal(t, []string{"in", "out"}, []string{e.Candidates[0].State, e.Candidates[1].State})
	require.Equal(t, "drained", e.Candidates[1].Reason)
	for _, tt := range []struct {
		q    isthmus.Question
		want string
	}{
		{isthmus.Question{Name: "nobody.production"}, `ask the watcher: 404 Not Found: service "nobody.production": no cluster exports it`},
		{isthmus.Question{Name: "usr.production"}, `ask the watcher: 404 Not Found: service "usr.production": no cluster exports it, did you mean "user.production"?`},
		{isthmus.Question{}, `ask the watcher: 400 Bad Request: name "": want NAME.NAMESPACE, with or without a zone, or an alias`},
		{isthmus.Question{Name: "user.production", From: "a/b/c/d"}, `ask the watcher: 400 Bad Request: from "a/b/c/d": want a cluster or REGION[/ZONE[/SUBZONE]]: `},
		{isthmus.Question{Name: "user.production", Without: []string{"wst"}}, `ask the watcher: 400 Bad Request: without "wst": no such cluster, did you mean "west"?`},
	} {
		_, err := c.Explain(t.Context(), tt.q)
		require.ErrorContains(t, err, tt.want)
	}
}

func TestPagesHoldEachServiceOnce(t *testing.T) {
	state := &fakeState{table: discovery.NewTable()}
	var services []*discovery.Service
	for i := range 2*DefaultLimit + 17 {
		// "n-0/x" is less than "n/x" as text, though the namespace comes later.
		services = append(services, newService([]string{"n", "n", "n-0"}[i%3], fmt.Sprintf("s%d", i), 1))
	}
	state.table.Apply("west", discovery.Update{Whole: true, Services: services}, discovery.Version{Epoch: 1})
	all, err := serve(t, state).Services(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, all, len(services))
	for i := range all[1:] {
		a, b := all[i], all[i+1]
		require.Negative(t, place{a.Namespace, a.Name}.compare(place{b.Namespace, b.Name}))
	}
}

func TestReadiness(t *testing.T) {
	state := &fakeState{table: discovery.NewTable()}
	get := func(path string) int {
		w := httptest.NewRecorder()
		New(about, state, prometheus.NewRegistry(), slog.New(slog.DiscardHandler)).http.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code
	}
	require.Equal(t, http.StatusOK, get("/healthz"))
	require.Equal(t, http.StatusServiceUnavailable, get("/readyz"))
	state.ready = true
	require.Equal(t, http.StatusOK, get("/readyz"))
	require.Equal(t, http.StatusOK, get("/metrics"))
}

func TestBadRequests(t *testing.T) {
	h := New(about, filled(), prometheus.NewRegistry(), slog.New(slog.DiscardHandler)).http.Handler
	for _, tt := range []struct {
		method, path string
		code         int
	}{
		{http.MethodGet, "/api/v1/services?limit=0", http.StatusBadRequest},
		{http.MethodGet, "/api/v1/services?limit=10001", http.StatusBadRequest},
		{http.MethodGet, "/api/v1/services?limit=x", http.StatusBadRequest},
		{http.MethodGet, "/api/v1/services?after=x", http.StatusBadRequest},
		{http.MethodGet, "/api/v1/explain", http.StatusBadRequest},
		{http.MethodGet, "/api/v1/explain?name=%00", http.StatusBadRequest},
		{http.MethodGet, "/api/v1/explain?name=" + strings.Repeat("a.", 8000), http.StatusNotFound},
		{http.MethodGet, "/api/v1/explain?name=user.production&client=x", http.StatusBadRequest},
		{http.MethodGet, "/api/v1/explain?name=user.production&client=10.0.0.1:53", http.StatusBadRequest},
		{http.MethodGet, "/api/v1/explain?name=user.production&client=10.0.0.0/8", http.StatusBadRequest},
		{http.MethodGet, "/api/v1/explain?name=user.production&from=" + strings.Repeat("a", 8000), http.StatusBadRequest},
		{http.MethodGet, "/api/v1/explain?name=user.production&from=%ff", http.StatusBadRequest},
		{http.MethodGet, "/api/v1/explain?name=user.production&without=%00", http.StatusBadRequest},
		{http.MethodGet, "/api/v1/explain?name=user.production&without=", http.StatusBadRequest},
		{http.MethodGet, "/api/v1/explain?name=user.production&without=west&without=west", http.StatusOK},
		{http.MethodPost, "/api/v1/status", http.StatusMethodNotAllowed},
		{http.MethodGet, "/", http.StatusNotFound},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
			require.Equal(t, tt.code, w.Code)
		})
	}
}

func TestTooMuchAtOnceIsRefusedButHealthIsTold(t *testing.T) {
	hold, held := make(chan struct{}), make(chan struct{}, atOnce)
	h := bounded(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			held <- struct{}{}
			<-hold
		}
	}))
	ask := func(path string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code
	}
	done := make(chan int, atOnce)
	for range atOnce {
		go func() { done <- ask("/slow") }()
	}
	for range atOnce {
		<-held
	}
	require.Equal(t, http.StatusServiceUnavailable, ask("/metrics"))
	require.Equal(t, http.StatusOK, ask("/healthz"))
	close(hold)
	for range atOnce {
		require.Equal(t, http.StatusOK, <-done)
	}
	require.Equal(t, http.StatusOK, ask("/metrics"))
}

func TestClientSaysWhatWentWrong(t *testing.T) {
	_, err := NewClient("ftp://x")
	require.EqualError(t, err, `watcher address "ftp://x": want http://host:port`)
	for _, tt := range []struct {
		name, want string
		answer     func(w http.ResponseWriter)
	}{
		{"refused", "ask the watcher: 503 Service Unavailable: too many", func(w http.ResponseWriter) { http.Error(w, "too\nmany", http.StatusServiceUnavailable) }},
		{"not JSON", "watcher's answer: invalid character 'h' looking for beginning of value", func(w http.ResponseWriter) { _, _ = io.WriteString(w, "hello") }},
		{"pages without end", "watcher's pages don't end", func(w http.ResponseWriter) { _ = json.NewEncoder(w).Encode(Services{Next: "a/b"}) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { tt.answer(w) }))
			defer server.Close()
			c, err := NewClient(server.URL)
			require.NoError(t, err)
			_, err = c.Services(t.Context(), "")
			require.EqualError(t, err, tt.want)
		})
	}
}
